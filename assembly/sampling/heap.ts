import { KEY } from "./key";

// A heap of keys with the smallest first: the parent of key i is key (i − 1) / 2.

/** Moves the key at `i` down to where the heap of `count` keys is one again. */
export function sink(heap: usize, count: usize, i: usize): void {
  const key = load<u64>(heap + i * KEY);
  for (;;) {
    let child: usize = 2 * i + 1;
    if (child >= count) break;
    let least = load<u64>(heap + child * KEY);
    if (child + 1 < count) {
      const right = load<u64>(heap + child * KEY, 8);
      if (right < least) {
        least = right;
        child++;
      }
    }
    if (key <= least) break;
    store<u64>(heap + i * KEY, least);
    i = child;
  }
  store<u64>(heap + i * KEY, key);
}

/** Makes a heap of `count` keys in any order. */
export function heapify(heap: usize, count: usize): void {
  for (let i = count >> 1; i > 0; i--) sink(heap, count, i - 1);
}

/** Sorts `count` keys, largest first. */
export function sortDescending(keys: usize, count: usize): void {
  heapify(keys, count);
  while (count > 1) {
    const least = load<u64>(keys);
    count--;
    store<u64>(keys, load<u64>(keys + count * KEY));
    store<u64>(keys + count * KEY, least);
    sink(keys, count, 0);
  }
}
