// What outlives a reload: an IndexedDB database with one table. A non-extractable key can be kept there as it is.

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('keybound-example', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('kept')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

async function run(mode, act) {
  const database = await open()
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction('kept', mode, { durability: 'strict' })
      const request = act(transaction.objectStore('kept'))
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => reject(transaction.error)
    })
  } finally {
    database.close()
  }
}

/** What was kept under this name, or undefined. */
export const load = (name) => run('readonly', (table) => table.get(name))

/** Keeps a value. It is on disk when this returns. */
export const keep = (name, value) => run('readwrite', (table) => table.put(value, name))

/** Forgets everything. */
export const forget = () => run('readwrite', (table) => table.clear())
