/** Three significant digits, no exponent: 0.123, 1.23, 12.3, 123, 1234. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  return rounded.toFixed(Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(rounded))))));
}

/** A time, in the unit that reads best. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 1e-3) return `${digits(ms * 1e6)} ns`;
  if (ms < 1) return `${digits(ms * 1e3)} µs`;
  return ms < 1000 ? `${digits(ms)} ms` : `${digits(ms / 1000)} s`;
}

/** "7.9×"; nothing when there is nothing to compare. */
export function times(ratio: number | undefined): string {
  return ratio === undefined || !Number.isFinite(ratio) ? "–" : `${ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(1)}×`;
}

export function percent(fraction: number | undefined): string {
  return fraction === undefined || !Number.isFinite(fraction) ? "–" : `${Math.round(fraction * 100)}%`;
}

/** Three digits of a percentage, for shares that may be small: "3.45%", "106%". */
export function share(fraction: number): string {
  return `${digits(100 * fraction)}%`;
}

/** An error: "2.1e-7". */
export function tiny(error: number): string {
  if (!Number.isFinite(error)) return "–";
  return error === 0 ? "0" : error.toExponential(1);
}

/** Bytes, in the unit that reads best. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 2 ** 20 ? `${digits(bytes / 1024)} KiB` : `${digits(bytes / 2 ** 20)} MiB`;
}
