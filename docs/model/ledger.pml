/*
 * The ledger of used proofs on Redis: two nodes, two clients, a thief who replays what was sent, lost answers, a failover to a replica
 * that lags behind, and a flush. README.md maps each step to the code.
 *
 * Time is counted in ticks of one acceptance window: a proof signed at tick t is accepted at t and at t+1.
 * A seeded bug is one of the BUG_ names; docs/model/run looks for each of them.
 */
#define NODES    2
#ifndef PROOFS
#define PROOFS   2          /* one of each client; who replays it makes no difference to a server */
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif
#define EPOCHS   4
#ifndef TICKS
#define TICKS    2
#endif

#define WINDOW   1          /* accepted while time <= iat + WINDOW */
#ifdef BUG_SHORT_LIFETIME
#define LIFETIME 1          /* recorded while time < iat + LIFETIME */
#else
#define LIFETIME (WINDOW + 1)
#endif
#ifdef BUG_YOUNG_EPOCH_ASKS_FOR_NO_NONCE
#define YOUNG    0
#else
#define YOUNG    (WINDOW + 1)   /* nonces are demanded while time < since + YOUNG */
#endif

byte time;

/* The primary. `server` is its identity; the epoch record is told by its identifier alone, 0 where there is none. */
byte server = 1;
byte claimed[PROOFS];       /* the attempt that recorded the proof; 0 where nobody did */
byte until[PROOFS];
byte record = 1;

/* What the replica has: the primary as it was at some earlier moment, at the latest at the beginning. */
byte behind_claimed[PROOFS];
byte behind_until[PROOFS];
byte behind_record = 1;

/* What a record says besides its identifier. The first epoch has no past. */
byte made = 1;
byte made_on[EPOCHS + 1];
byte since[EPOCHS + 1];

/* The nodes: the epoch that each knows, and the identity of the server at the other end of its connection, 0 where it has none. */
byte known[NODES];
byte connected[NODES];

/* The proofs. */
bool is_signed[PROOFS];
byte iat[PROOFS];
byte nonce[PROOFS];         /* the epoch of its nonce; 0 where it has none */

byte accepted[PROOFS];
byte senders[PROOFS];       /* how many requests sent a claim for the proof */

/* Faults. What replicas have matters at the failover alone: so one moment before it is chosen. */
bool replicated, failed_over, flushed, answer_lost;

/* Requests are alike, and so are nodes: the first to begin has the number 1 and goes to node 0. */
byte begun;

/* One fault, or one of each kind. */
#ifdef BOTH_FAULTS
#define fault_is_left true
#else
#define fault_is_left (!failed_over && !flushed)
#endif

#define demands_nonce(e) (since[e] != 0 && time < since[e] - 1 + YOUNG)
#ifdef BUG_EPOCH_SURVIVES_FAILOVER
#define fits(e) (e != 0)
#else
#define fits(e) (e != 0 && made_on[e] == server)
#endif

/* A connection is made and watched: look at the server, agree on the epoch, use it. epoch.lua replaces the record only where it still is
   the one that was looked at, so looking and replacing are one step; a node that adopts late is one that looks late. */
proctype Keeper(byte n)
{
end:
  do
  :: d_step { connected[n] != server || known[n] != record ->
       if
       :: fits(record)
       :: else -> made++; made_on[made] = server; since[made] = time + 1; record = made;
       fi;
       known[n] = record; connected[n] = server;
     }
  od
}

/* A client signs, with the nonce of either node or with none. */
proctype Client(byte p)
{
  atomic {
    if
    :: nonce[p] = 0
    :: known[0] != 0 -> nonce[p] = known[0]
    :: known[1] != 0 && known[1] != known[0] -> nonce[p] = known[1]
    fi;
    iat[p] = time;
    is_signed[p] = true;
  }
}

/* One request with one of the proofs, by whoever has it. */
proctype Request(byte r)
{
  byte n, p, judged, found, at;
  bool ours, again;

  /* The proof is verified. That the epoch may move before the claim is sent is the first check of Shared::claim; it makes no difference
     to the ones behind it, and so has no step of its own. */
  atomic {
    begun == r - 1 && (is_signed[0] || is_signed[PROOFS - 1]) -> begun++;
    if
    :: is_signed[0] -> p = 0
#if PROOFS > 1
    :: is_signed[1] -> p = 1
#endif
    fi;
    if
    :: n = 0
    :: r > 1 -> n = 1
    fi;
    if
    :: connected[n] != 0 && time <= iat[p] + WINDOW ->
       judged = known[n];
       if
       :: nonce[p] == 0 && !demands_nonce(judged)
       :: nonce[p] != 0 && nonce[p] == judged
#ifdef BUG_NONCE_OF_ANY_EPOCH
       :: nonce[p] != 0 && nonce[p] != judged
#endif
       :: else -> goto over
       fi
    :: else -> goto over
    fi;
  }

  /* Shared::claim. */
send:
  atomic {
    connected[n] == server ->
    at = server;
    if
    :: !again && senders[p] < 2 -> senders[p]++
    :: else
    fi;
#ifdef BUG_RECORD_READ_BEFORE_CLAIM
    found = record;
  }
  atomic {
    if
    :: at != server -> goto lost
    :: else
    fi;
#endif
#ifdef BUG_CHECK_THEN_SET
    ours = !(claimed[p] != 0 && time < until[p]) || claimed[p] == r;
  }
  atomic {
    if
    :: at != server -> goto lost
    :: at == server && ours -> claimed[p] = r; until[p] = iat[p] + LIFETIME;
    :: else
    fi;
#else
    /* SET NX GET PX */
    if
    :: claimed[p] != 0 && time < until[p] ->
#ifdef BUG_RETRY_WITHOUT_ATTEMPT_NUMBER
       ours = false;
#else
       ours = claimed[p] == r;
#endif
    :: else ->
       ours = true; claimed[p] = r; until[p] = iat[p] + LIFETIME;
    fi;
#endif
  }
  /* GET of the epoch record, behind it on the same connection; then the answer, which may be lost. */
  atomic {
    if
    :: at != server -> goto lost
    :: at == server ->
#ifndef BUG_RECORD_READ_BEFORE_CLAIM
       found = record;
#endif
       if
       :: goto told
       :: !answer_lost -> answer_lost = true; goto lost
       fi
    fi;
  }

lost:
  if
  :: !again ->
     again = true;
#ifdef BUG_RETRY_JUDGED_BY_NEW_EPOCH
     connected[n] == server -> judged = known[n];
#endif
     goto send
  :: else ->
#ifdef BUG_UNKNOWN_IS_ACCEPTED
     goto accept
#else
     goto over              /* 503 */
#endif
  fi;

told:
  if
#ifdef BUG_NO_EPOCH_RECORD
  :: ours -> goto accept
#else
  :: found == judged && ours -> goto accept
#endif
  :: found == judged && !ours ->
     /* Told that the proof was used: then somebody else did present it. */
     assert(senders[p] > 1);
     goto over
  :: found != judged ->
     /* unclaim.lua */
     atomic {
       if
#ifdef BUG_TAKES_BACK_ANY_CLAIM
       :: at == server -> claimed[p] = 0; until[p] = 0;
#else
       :: ours && at == server && claimed[p] == r -> claimed[p] = 0; until[p] = 0;
#endif
       :: else
       fi
     }
     goto over
  fi;

accept:
  atomic {
  /* in_time: the answer counts only where the proof would still be good. */
#ifndef BUG_STALL_GOES_UNNOTICED
  if
  :: time <= iat[p] + WINDOW
  :: else -> goto over       /* 503 */
  fi;
#endif
  accepted[p]++;
  assert(accepted[p] <= 1);   /* R1: no proof is accepted twice */
  }
over:
  atomic { n = 0; p = 0; judged = 0; found = 0; at = 0; ours = false; again = false; }
}

/* Replication, faults, and time. */
proctype World()
{
end:
  do
  :: d_step { !failed_over && !replicated && fault_is_left ->
       replicated = true;
       behind_claimed[0] = claimed[0]; behind_until[0] = until[0];
#if PROOFS > 1
       behind_claimed[1] = claimed[1]; behind_until[1] = until[1];
#endif
       behind_record = record;
     }
  :: d_step { !failed_over && fault_is_left ->
       failed_over = true; replicated = true;
       server++;
       claimed[0] = behind_claimed[0]; until[0] = behind_until[0];
#if PROOFS > 1
       claimed[1] = behind_claimed[1]; until[1] = behind_until[1];
#endif
       record = behind_record;
       behind_claimed[0] = 0; behind_until[0] = 0;
#if PROOFS > 1
       behind_claimed[1] = 0; behind_until[1] = 0;
#endif
       behind_record = 0;
     }
  :: d_step { !flushed && fault_is_left ->
       flushed = true;
       claimed[0] = 0; until[0] = 0;
#if PROOFS > 1
       claimed[1] = 0; until[1] = 0;
#endif
       record = 0;
     }
  :: time < TICKS -> time++
  od
}

init {
  atomic {
    made_on[1] = 1;
    known[0] = 1; known[1] = 1;
    connected[0] = 1; connected[1] = 1;
    run Keeper(0); run Keeper(1);
    run World();
    run Request(1); run Request(2);
#if REQUESTS > 2
    run Request(3);
#endif
    run Client(0);
#if PROOFS > 1
    run Client(1);
#endif
  }
}
