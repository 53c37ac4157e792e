import type { Cell, Unit } from "./report.ts";

/** A number as its unit wants it, with the unit's sign if it has one: "1.23 ms", "45%", "7.90×", "3.10" GFLOP/s. */
export function formatted(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return "–";
  switch (unit) {
    case "ms":
      return duration(value);
    case "bytes":
      return value < 1024 ? `${value} bytes` : value < 2 ** 20 ? `${digits(value / 1024)} KiB` : `${digits(value / 2 ** 20)} MiB`;
    case "%":
      return `${value < 0.1 ? digits(100 * value) : Math.round(100 * value)}%`;
    case "×":
      return `${digits(value)}×`;
    case "error":
      return value === 0 ? "0" : value.toExponential(1);
    default:
      return digits(value);
  }
}

/** A cell of a table. What nine samples in ten reach follows a median on the page, where there is room. */
export function cellText(cell: Cell, unit: Unit): string {
  if (cell === undefined || cell === null) return "";
  if (typeof cell === "string") return cell;
  return formatted(typeof cell === "number" ? cell : cell.median, unit);
}

/** Three significant digits, no exponent: 0.123, 1.23, 12.3, 123, 1234. */
function digits(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  const decimals = 2 - Math.floor(Math.log10(Math.abs(rounded)));
  return rounded.toFixed(Math.max(0, Math.min(3, decimals)));
}

/** A time, in the unit that reads best. */
function duration(ms: number): string {
  const [scale, unit]: readonly [number, string] =
    Math.abs(ms) < 1e-3 ? [1e6, "ns"] : Math.abs(ms) < 1 ? [1e3, "µs"] : Math.abs(ms) < 1000 ? [1, "ms"] : [1e-3, "s"];
  return `${digits(ms * scale)} ${unit}`;
}
