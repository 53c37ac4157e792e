import { labelOf, leadOf, noiseOf, ratioTo } from "./derive.ts";
import { escape } from "./escape.ts";
import { digits, duration, percent, times, tiny } from "./format.ts";
import type { BenchReport, CaseResult, SuiteResult } from "./results.ts";

/** A table row; the first cell is text. */
function row(cells: readonly string[], tag: "td" | "th" = "td", className = ""): string {
  return `<tr${className === "" ? "" : ` class="${className}"`}>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
}

/** Everything that was measured in one case. */
export function caseTable(suite: SuiteResult, result: CaseResult): string {
  const lead = leadOf(result);
  const byRate = suite.compares === "rate";
  const head = [
    "",
    ...(byRate ? [suite.unit, "GB/s"] : []),
    ...result.limits.map(({ name }) => `of ${escape(name)}`),
    "per call",
    `${escape(lead?.name ?? "lead")} is`,
    "± rounds",
    "max error",
    "samples",
  ];
  const rows = result.measurements.map((m) =>
    row(
      [
        escape(labelOf(m)) + (m.note === undefined ? "" : ` <span class="soft">${escape(m.note)}</span>`),
        ...(byRate ? [digits(m.rate / 1e9), digits(m.bytesPerSecond / 1e9)] : []),
        ...result.limits.map((limit) => (m.group === "limit" ? "" : percent(m.rate / limit.rate))),
        duration(m.timing.ms),
        m.lead || m.group === "limit" ? "" : times(ratioTo(result, m)),
        percent(noiseOf(m)),
        m.group === "limit" ? "" : tiny(m.maxError),
        String(m.timing.samples),
      ],
      "td",
      m.lead ? "lead" : m.group === "limit" ? "limit" : "",
    ),
  );
  const wrong = result.failures.map(
    ({ contender, variant, message }) => `<p class="wrong">Wrong, not timed: ${escape(labelOf({ name: contender, variant }))}: ${escape(message)}</p>`,
  );
  return `<div class="scroll"><table><thead>${row(head, "th")}</thead><tbody>${rows.join("")}</tbody></table></div>${wrong.join("")}`;
}

/** All cases of a suite, each behind its heading. */
export function suiteTables(suite: SuiteResult): string {
  return suite.cases
    .map((result) => {
      const lead = leadOf(result);
      const figure = lead === undefined ? "" : ` · ${suite.compares === "rate" ? `${digits(lead.rate / 1e9)} ${suite.unit}` : duration(lead.timing.ms)}`;
      return `<details open><summary><b>${escape(result.name)}</b> <span class="soft">${escape(result.what)}${figure}</span></summary>${caseTable(suite, result)}</details>`;
    })
    .join("\n");
}

/** What the machine can do. */
export function machineTable({ machine }: BenchReport): string {
  const rows = machine.map(
    ({ name, value, unit, about }) =>
      `<tr><td class="text">${escape(name)}<br><span class="soft">${escape(about)}</span></td><td>${digits(value)} ${unit}</td></tr>`,
  );
  return `<div class="scroll"><table><tbody>${rows.join("")}</tbody></table></div>`;
}

/** Import and first result. */
export function startUpTable({ startUp }: BenchReport): string {
  const rows = startUp.map(({ name, ms, samplesMs, failure }) =>
    row([escape(name), failure === "" ? duration(ms) : `<span class="wrong">${escape(failure.split("\n")[0] ?? "")}</span>`, `${samplesMs.length} processes`]),
  );
  return `<div class="scroll"><table><tbody>${rows.join("")}</tbody></table></div>`;
}
