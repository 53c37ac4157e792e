// 16-bit floats as bits: Node 20 and 22 have no Float16Array.

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The bits of the nearest f16, ties to even. */
export function toHalf(value: number): number {
  f32[0] = value;
  const bits = u32[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(f32[0]);
  if (Number.isNaN(magnitude)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // Halfway between two multiples of a power of two, addition rounds to the even one: 2⁻²⁴ below the normal numbers, else 2⁻¹⁰ of the leading bit.
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 1)));
  const steps = roundToEven(magnitude * 2 ** (10 - exponent));
  return sign | (magnitude === 0 ? 0 : steps + ((exponent + 14) << 10));
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** The value of an f16, given its bits. */
export function fromHalf(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** Numbers rounded to f16: their bits, and their values. */
export function halved(values: Float32Array): { readonly bits: Uint16Array; readonly values: Float32Array } {
  const bits = Uint16Array.from(values, toHalf);
  return { bits, values: Float32Array.from(bits, fromHalf) };
}

const Float16 = (globalThis as { Float16Array?: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => ArrayBufferView }).Float16Array;

/** The array types that f16 may come in: its bits, and Float16Array if available. */
export const HALF_FORMS: readonly (readonly [name: string, of: (bits: Uint16Array) => ArrayBufferView])[] = [
  ["Uint16Array", (bits) => bits],
  ...(Float16 === undefined ? [] : [["Float16Array", ({ buffer, byteOffset, length }: Uint16Array) => new Float16(buffer, byteOffset, length)] as const]),
];
