// Candidates for a row's largest elements are u64 keys, whose order is that of SEMANTICS: by value, and among equal values the lower index
// is the greater key. NaN is greater than any number, and −0 equals 0.
//
//   63           32 31            0
//   [value, sortable][  ~index     ]

export const KEY: usize = 8;
/** From a key to that of the next greater value with the same index. */
export const NEXT_VALUE: u64 = 0x100000000;

/** The key of a value at an index. */
@inline export function keyOf(value: f32, index: usize): u64 {
  // Adding 0 turns −0 into 0. Positive floats sort like their bits, negative ones the other way round.
  const bits = reinterpret<i32>(value + 0);
  const sortable: u32 = value != value ? 0xffffffff : <u32>(bits ^ ((bits >> 31) | 0x80000000));
  return (<u64>sortable << 32) | <u64>~(<u32>index);
}

@inline export function valueOf(key: u64): f32 {
  const sortable = <i32>(key >> 32);
  return sortable == -1 ? NaN : reinterpret<f32>(sortable ^ (~(sortable >> 31) | 0x80000000));
}

@inline export function indexOf(key: u64): usize {
  return <usize>~(<u32>key);
}
