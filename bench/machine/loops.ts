// @ts-nocheck: AssemblyScript, compiled by build.ts for the benchmark alone; not part of the package.
import { exp4 } from "../../assembly/math/exp";
import { madd } from "../../assembly/simd/fma";

// Loops that do one thing each, as fast as this machine does it through WebAssembly. No kernel can beat them.

/** Multiplier and addend of `multiplyAdd`: loaded, not literal, for the reason given in assembly/simd/constants.ts. */
const FACTORS: usize = memory.data<f32>([0.999999, 0.000001], 16);

/** The first address that is free for buffers. */
export function buffers(): usize {
  return (__heap_base + 63) & ~63;
}

/** Copies `bytes`, a multiple of 64, and the rest of up to 60 in words. */
export function copy(from: usize, to: usize, bytes: usize): void {
  const end = from + bytes;
  for (const main = from + (bytes & ~63); from < main; from += 64, to += 64) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    v128.store(to, v128.load(from, 32), 32);
    v128.store(to, v128.load(from, 48), 48);
  }
  for (; from < end; from += 4, to += 4) store<u32>(to, load<u32>(from));
}

/** Sum of `bytes` of f32, a multiple of 64. */
export function read(from: usize, bytes: usize): f32 {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (const end = from + bytes; from < end; from += 64) {
    a = f32x4.add(a, v128.load(from));
    b = f32x4.add(b, v128.load(from, 16));
    c = f32x4.add(c, v128.load(from, 32));
    d = f32x4.add(d, v128.load(from, 48));
  }
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** `to = exp(from)` over `bytes`, a multiple of 64: the exponential of the softmax loops, x ≤ 88, and nothing else. */
export function exp(from: usize, to: usize, bytes: usize): void {
  const zero = f32x4.splat(0);
  for (const end = from + bytes; from < end; from += 64, to += 64) exp4(from, to, 16, zero, true, false);
}

/**
 * Twelve chains of `count` multiply-adds on four lanes each. Fused, eight to ten fill two units with a latency of four or five cycles;
 * a product and a sum one after the other take eight cycles, on up to three units. No more fit in registers.
 */
export function multiplyAdd(count: i32): f32 {
  const f = v128.load_splat<f32>(FACTORS), g = v128.load_splat<f32>(FACTORS, 4);
  let a0 = f32x4.splat(1), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0;
  for (let i = 0; i < count; i++) {
    a0 = madd(a0, f, g);
    a1 = madd(a1, f, g);
    a2 = madd(a2, f, g);
    a3 = madd(a3, f, g);
    a4 = madd(a4, f, g);
    a5 = madd(a5, f, g);
    a6 = madd(a6, f, g);
    a7 = madd(a7, f, g);
    a8 = madd(a8, f, g);
    a9 = madd(a9, f, g);
    a10 = madd(a10, f, g);
    a11 = madd(a11, f, g);
  }
  a0 = f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3));
  a4 = f32x4.add(f32x4.add(a4, a5), f32x4.add(a6, a7));
  return sum(f32x4.add(f32x4.add(a0, a4), f32x4.add(f32x4.add(a8, a9), f32x4.add(a10, a11))));
}

function sum(v: v128): f32 {
  v = f32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  v = f32x4.add(v, i32x4.shuffle(v, v, 1, 0, 3, 2));
  return f32x4.extract_lane(v, 0);
}
