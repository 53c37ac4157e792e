// exp and log to about 31 digits, as unevaluated sums of two f64 (Dekker 1971; Shewchuk 1997), to measure errors of f64
// functions in ULP: Math.exp and Math.log are themselves off by up to one.

/** The number `hi + lo`, `|lo|` at most half an ULP of `hi`. */
export interface Double2 {
  readonly hi: number;
  readonly lo: number;
}

/** ln 2 in three parts. */
const LN2 = [0.6931471805599453, 2.3190468138462996e-17, 5.707708438416212e-34] as const;
/** 0.35²⁸/28! is below 1e-42. */
const TERMS = 28;

/** eˣ = 2^exponent · (hi + lo), for finite x; the exponent is kept apart so that nothing is lost near the ends of the range. */
export function exp(x: number): Double2 & { readonly exponent: number } {
  const exponent = Math.round(x / LN2[0]);
  let r = add(product(-exponent, LN2[0]), x);
  r = add(r, -exponent * LN2[1]);
  // The rounding of the second product, and the third part of ln 2.
  r = add(r, product(-exponent, LN2[1]).lo - exponent * LN2[2]);
  let sum: Double2 = { hi: 1, lo: 0 };
  for (let n = TERMS; n >= 1; n--) sum = add(divide(multiply(sum, r), n), 1);
  return { ...sum, exponent };
}

/** How far `actual` is from eˣ, in units in the last place of eˣ. */
export function expErrorInUlp(actual: number, x: number): number {
  const { hi, lo, exponent } = exp(x);
  // In two steps: 2^1023 is the largest power there is.
  const half = Math.trunc(-exponent / 2);
  const scaled = actual * 2 ** half * 2 ** (-exponent - half);
  return Math.abs(scaled - hi - lo) / ulp(hi);
}

/** How far `actual` is from ln x, in units in the last place of ln x, for a positive normal x other than 1. */
export function logErrorInUlp(actual: number, x: number): number {
  const d = x - 1;
  if (Math.abs(d) < 1e-8) return Math.abs(actual - d + d * d * (0.5 - d / 3)) / ulp(d);
  // One Newton step from a good guess y: ln x = y + ln(x·e⁻ʸ).
  const y = Math.log(x);
  const { hi, lo, exponent } = exp(-y);
  const ratio = multiply({ hi, lo }, { hi: x * 2 ** exponent, lo: 0 });
  const z = add(ratio, -1);
  const correction = z.hi - (z.hi * z.hi) / 2;
  return Math.abs(actual - y - correction) / ulp(y);
}

/** One unit in the last place of a normal f64. */
export function ulp(x: number): number {
  return 2 ** (Math.floor(Math.log2(Math.abs(x))) - 52);
}

function sum(a: number, b: number): Double2 {
  const hi = a + b;
  const part = hi - a;
  return { hi, lo: a - (hi - part) + (b - part) };
}

function add(a: Double2, b: number): Double2 {
  const s = sum(a.hi, b);
  return sum(s.hi, s.lo + a.lo);
}

/** The exact product: each factor split into halves of 26 bits (Veltkamp). */
function product(a: number, b: number): Double2 {
  const hi = a * b;
  const [a1, a2] = split(a);
  const [b1, b2] = split(b);
  return { hi, lo: a2 * b2 - (hi - a1 * b1 - a2 * b1 - a1 * b2) };
}

function split(a: number): [number, number] {
  const c = 134217729 * a; // 2²⁷ + 1
  const high = c - (c - a);
  return [high, a - high];
}

function multiply(a: Double2, b: Double2): Double2 {
  const p = product(a.hi, b.hi);
  return sum(p.hi, p.lo + a.hi * b.lo + a.lo * b.hi);
}

function divide(a: Double2, n: number): Double2 {
  const q = a.hi / n;
  const p = product(q, n);
  return sum(q, (a.hi - p.hi - p.lo + a.lo) / n);
}
