import { stripVTControlCharacters, styleText } from "node:util";
import { cellText } from "./format.ts";
import type { Report, Table } from "./report.ts";

type Style = Parameters<typeof styleText>[0];

/** Prints lines: coloured on a terminal that wants it, plain text everywhere else. */
export function print(style: Style, ...lines: readonly string[]): void {
  for (const line of lines) console.log(styleText(style, line, { stream: process.stdout }));
}

/** Prints a table with its notes. */
export function printTable({ title, about = "", columns, rows, notes = [], errors = [] }: Table): void {
  console.log(`\n${styleText("bold", title, { stream: process.stdout })}  ${about}`);
  const units = Object.values(columns);
  const styles = { lead: "bold", limit: "dim", other: "reset" } as const;
  const lines = [Object.keys(columns), ...rows.map(({ cells }) => units.map((unit, i) => cellText(cells[i], unit)))];
  const widths = units.map((_, i) => Math.max(...lines.map((line) => stripVTControlCharacters(line[i] ?? "").length)));
  const rule = (start: string, middle: string, end: string): string => start + widths.map((width) => "─".repeat(width + 2)).join(middle) + end;
  const [head = "", ...body] = lines.map((line) => {
    const cells = line.map((cell, i) => (units[i] === "text" ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)));
    return `│ ${cells.join(" │ ")} │`;
  });
  if (rows.length > 0) print("reset", rule("┌", "┬", "┐"), head, rule("├", "┼", "┤"));
  body.forEach((line, i) => print(styles[rows[i]?.role ?? "other"], line));
  if (rows.length > 0) print("reset", rule("└", "┴", "┘"));
  print("dim", ...notes.map((note) => `  ${note}`));
  print("red", ...errors.map((error) => `  WRONG  ${error}`));
}

/** Prints what a report has in tables; those of single cases where they have not been printed before. */
export function printReport({ sections, errors }: Report, withDetails: boolean): void {
  for (const { title, tables = [] } of sections) {
    const shown = tables.filter(({ isDetail }) => withDetails || isDetail !== true);
    if (shown.length > 0) print("bold", `\n── ${title} ──`);
    shown.forEach(printTable);
  }
  print("red", ...errors.map((error) => `WRONG  ${error}`));
  console.log(errors.length === 0 ? "\nAll results were right." : `\n${errors.length} wrong results.`);
}
