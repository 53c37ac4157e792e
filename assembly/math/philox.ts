// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): random bits as a function of a
// counter and a key. test/kernels/philox.test.ts has the vectors published with Random123.

const MULTIPLY_0: u64 = 0xD2511F53;
const MULTIPLY_1: u64 = 0xCD9E8D57;
const WEYL_0: u32 = 0x9E3779B9;
const WEYL_1: u32 = 0xBB67AE85;
const ROUNDS = 10;

/** Replaces the counter of four words at `words` with four random words. */
export function philox(words: usize, key0: u32, key1: u32): void {
  let c0 = load<u32>(words), c1 = load<u32>(words, 4), c2 = load<u32>(words, 8), c3 = load<u32>(words, 12);
  for (let i = 0; i < ROUNDS; i++, key0 += WEYL_0, key1 += WEYL_1) {
    const a = MULTIPLY_0 * <u64>c0, b = MULTIPLY_1 * <u64>c2;
    c0 = <u32>(b >> 32) ^ c1 ^ key0;
    c1 = <u32>b;
    c2 = <u32>(a >> 32) ^ c3 ^ key1;
    c3 = <u32>a;
  }
  store<u32>(words, c0);
  store<u32>(words, c1, 4);
  store<u32>(words, c2, 8);
  store<u32>(words, c3, 12);
}

/** A uniform number in [0, 1) with 53 bits, for a key and a counter of 64 bits and another of 32. `words` is scratch of 16 bytes. */
export function uniform(key: u64, counter: u64, other: u32, words: usize): f64 {
  store<u64>(words, counter);
  store<u64>(words, <u64>other, 8);
  philox(words, <u32>key, <u32>(key >> 32));
  const high = <u64>(load<u32>(words) >> 5), low = <u64>(load<u32>(words, 4) >> 6);
  return <f64>((high << 26) | low) * (1.0 / 9007199254740992.0);
}
