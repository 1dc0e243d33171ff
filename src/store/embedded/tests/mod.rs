//! What can be seen only from inside: claims when the clock goes astray, failing disks, and what a stop leaves behind.

use keybound_proofs::Entropy;

mod claims;
mod disk;
mod power;

/// Bytes that differ from call to call and from test to test.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        buffer.iter_mut().zip(0u8..).for_each(|(byte, at)| *byte = self.0.wrapping_mul(31).wrapping_add(at));
    }
}
