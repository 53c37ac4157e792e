import { GROUP_HIGH, GROUP_LOW, ROW_HIGH, ROW_LOW, rowEntry } from "./layout";

/** Finds the keys that any row of each group of `lanes` rows may see. */
export function findGroupRanges(block: usize, rows: usize, groups: usize, lanes: usize, scratch: usize): void {
  for (let g: usize = 0; g < groups; g++) {
    let low = i32.MAX_VALUE, high = 0;
    for (let r = g * lanes; r < min(rows, (g + 1) * lanes); r++) {
      const entry = rowEntry(block, r);
      const rowLow = load<i32>(entry, ROW_LOW), rowHigh = load<i32>(entry, ROW_HIGH);
      if (rowLow >= rowHigh) continue;
      low = min(low, rowLow);
      high = max(high, rowHigh);
    }
    store<i32>(scratch + GROUP_LOW + (g << 2), min(low, high));
    store<i32>(scratch + GROUP_HIGH + (g << 2), high);
  }
}

/** The first key that any group sees: `keyEnd` if none sees a key. */
export function lowestKey(scratch: usize, groups: usize, keyEnd: usize): usize {
  let lowest = keyEnd;
  for (let g = scratch, end = scratch + (groups << 2); g < end; g += 4) {
    const low = load<usize>(g, GROUP_LOW);
    if (low < load<usize>(g, GROUP_HIGH)) lowest = min(lowest, low);
  }
  return lowest;
}

/** One past the last key before `keyEnd` that any group sees: 0 if none sees a key. */
export function highestKey(scratch: usize, groups: usize, keyEnd: usize): usize {
  let highest: usize = 0;
  for (let g = scratch, end = scratch + (groups << 2); g < end; g += 4) highest = max(highest, load<usize>(g, GROUP_HIGH));
  return min(highest, keyEnd);
}
