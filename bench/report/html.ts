import { readFileSync } from "node:fs";
import { drawChart } from "./charts.ts";
import { cellText, formatted } from "./format.ts";
import type { Cell, Report, Section, Table, Unit } from "./report.ts";

/** The report as one page that asks nothing of the network. */
export function htmlReport({ title, intro, errors, sections }: Report): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${readFileSync(new URL("page.css", import.meta.url), "utf8")}</style>
<main>
<h1>${escape(title)}</h1>
${paragraphs(intro, "intro")}
${paragraphs(errors, "wrong")}
${sections.map(sectionOf).join("\n")}
</main>
</html>
`;
}

function sectionOf({ title, isSub, text = [], cards = [], charts = [], tables = [] }: Section): string {
  const shown = cards.map((card) => `<div class="card"><div class="big">${escape(card.big)}</div><p>${escape(card.text)}</p></div>`);
  return [
    isSub === true ? `<h3>${escape(title)}</h3>` : `<h2>${escape(title)}</h2>`,
    paragraphs(text, isSub === true ? "soft" : ""),
    ...(shown.length === 0 ? [] : [`<div class="cards">${shown.join("\n")}</div>`]),
    ...charts.map((chart) => `<figure>${drawChart(chart)}</figure>`),
    ...tables.map(tableOf),
  ].join("\n");
}

function tableOf({ title, about = "", columns, rows, notes = [], errors = [], isDetail }: Table): string {
  const classOf = (unit: Unit): string => (unit === "text" ? ' class="text"' : "");
  const head = Object.entries(columns).map(([column, unit]) => `<th${classOf(unit)}>${escape(column)}</th>`);
  const body = rows.map(
    ({ cells, role = "" }) =>
      `<tr class="${role}">${Object.values(columns)
        .map((unit, i) => `<td${classOf(unit)}>${cellOf(cells[i], unit)}</td>`)
        .join("")}</tr>`,
  );
  const heading = `<b>${escape(title)}</b> <span class="soft">${escape(about)}</span>`;
  const table = `<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>`;
  const rest = (rows.length === 0 ? "" : table) + paragraphs(notes, "soft") + paragraphs(errors, "wrong");
  return isDetail === true ? `<details><summary>${heading}</summary>${rest}</details>` : `<p>${heading}</p>${rest}`;
}

/** A median, and behind it what nine samples in ten reach. */
function cellOf(cell: Cell, unit: Unit): string {
  const p90 = typeof cell === "object" && typeof cell?.p90 === "number" ? ` <span class="soft">${formatted(cell.p90, unit)}</span>` : "";
  return escape(cellText(cell, unit)) + p90;
}

function paragraphs(texts: readonly string[], role: string): string {
  return texts.map((text) => `<p class="${role}">${escape(text)}</p>`).join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
