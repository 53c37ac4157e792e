import { stripVTControlCharacters } from "node:util";

/** Lines of a table with a frame, for a terminal; colours in cells do not count as width. The first `left` columns are aligned left. */
export function columns(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const hasHead = head.some((title) => title !== "");
  const all = hasHead ? [head, ...rows] : rows;
  const widths = head.map((_, i) => Math.max(0, ...all.map((row) => widthOf(row[i] ?? ""))));
  const line = (start: string, middle: string, end: string): string => start + widths.map((width) => "─".repeat(width + 2)).join(middle) + end;
  const text = (row: readonly string[]): string => `│${widths.map((width, i) => ` ${pad(row[i] ?? "", width, i < left)} `).join("│")}│`;
  return [line("┌", "┬", "┐"), ...(hasHead ? [text(head), line("├", "┼", "┤")] : []), ...rows.map(text), line("└", "┴", "┘")].join("\n");
}

function pad(cell: string, width: number, isLeft: boolean): string {
  const space = " ".repeat(width - widthOf(cell));
  return isLeft ? cell + space : space + cell;
}

/** One column per UTF-16 unit: true of Latin letters, signs and lines, which is all that tables have. */
function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
