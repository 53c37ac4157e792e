import { costOf, isRegisterLimit, labelOf, leadOf, limitNamed, limitNames, memoryText, noiseOf, ratioTo, skippedTexts, speedUpOf } from "./derive.ts";
import { escape } from "./escape.ts";
import { digits, duration, percent, share, size, times, tiny } from "./format.ts";
import type { BenchReport, CaseResult, SuiteResult } from "./results.ts";

/** A table row; the first cell is text. */
function row(cells: readonly string[], tag: "td" | "th" = "td", className = ""): string {
  return `<tr${className === "" ? "" : ` class="${className}"`}>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
}

/** Everything that was measured in one case. */
export function caseTable(suite: SuiteResult, result: CaseResult): string {
  const lead = leadOf(result);
  const hasRate = suite.compares === "rate" || suite.compares === "cost";
  const hasRatio = suite.compares === "rate" || suite.compares === "time";
  const hasBytes = suite.compares === "rate" && suite.unit !== "GB/s";
  const limits = limitNames(result);
  const head = [
    "",
    ...(suite.compares === "cost" ? [`of ${escape(lead?.name ?? "lead")}`] : []),
    ...(suite.compares === "speed-up" ? [`× ${escape(lead?.name ?? "lead")}`] : []),
    ...(hasRate ? [suite.unit] : []),
    ...(hasBytes ? ["GB/s"] : []),
    ...limits.map((name) => `of ${escape(name)}`),
    "per call",
    ...(hasRatio ? [`${escape(lead?.name ?? "lead")} is`] : []),
    "± rounds",
    "max error",
    "samples",
  ];
  const rows = result.measurements.map((m) =>
    row(
      [
        escape(labelOf(m)) + (m.note === undefined ? "" : ` <span class="soft">${escape(m.note)}</span>`),
        ...(suite.compares === "cost" ? [share(costOf(result, m))] : []),
        ...(suite.compares === "speed-up" ? [digits(speedUpOf(result, m))] : []),
        ...(hasRate ? [digits(m.rate / 1e9)] : []),
        ...(hasBytes ? [isRegisterLimit(m) ? "" : digits(m.bytesPerSecond / 1e9)] : []),
        ...limits.map((name) => (m.group === "limit" ? "" : percent(m.rate / (limitNamed(result, name, m)?.rate ?? NaN)))),
        duration(m.timing.ms),
        ...(!hasRatio ? [] : [m.lead || m.group === "limit" ? "" : times(ratioTo(result, m))]),
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
  const skipped = skippedTexts(result);
  const remarks = [...(result.memory === undefined ? [] : [memoryText(result.memory)]), ...skipped].map((text) => `<p class="soft">${escape(text)}</p>`);
  return `<div class="scroll"><table><thead>${row(head, "th")}</thead><tbody>${rows.join("")}</tbody></table></div>${remarks.join("")}${wrong.join("")}`;
}

/** All cases of a suite, each behind its heading. */
export function suiteTables(suite: SuiteResult): string {
  return suite.cases
    .map((result) => {
      const lead = leadOf(result);
      const hasRate = suite.compares === "rate" || suite.compares === "cost";
      const figure = lead === undefined ? "" : ` · ${hasRate ? `${digits(lead.rate / 1e9)} ${suite.unit}` : duration(lead.timing.ms)}`;
      return `<details open><summary><b>${escape(result.name)}</b> <span class="soft">${escape(result.what)}${figure}</span></summary>${caseTable(suite, result)}</details>`;
    })
    .join("\n");
}

/** What each case's call works in, if that was measured. */
export function memoryTable({ cases }: SuiteResult): string {
  const rows = cases.flatMap(({ name, memory }) =>
    memory === undefined ? [] : [row([escape(name), size(memory.scratchBytes), size(memory.plainBytes), size(memory.matrixBytes)])],
  );
  if (rows.length === 0) return "";
  const head = row(["", "tensors in module memory", "plain arrays", "matrix of scores"], "th");
  return `<h3>Working memory</h3>
<p class="soft">What a call of onepass takes beyond inputs and output, against the matrix that attention in three steps stores. Of plain arrays, one head of keys and values at a time is copied in.</p>
<div class="scroll"><table><thead>${head}</thead><tbody>${rows.join("")}</tbody></table></div>`;
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
