import { digits } from "./format.ts";
import type { BenchReport, CaseResult } from "./results.ts";

/** The steps from the formula to one pass, each with the figure measured for it. */
const STEPS = [
  {
    name: "standard",
    formula: "e<sup>x</sup> / Σ e<sup>x</sup>",
    text: "The definition. Reads the row, stores the exponentials, divides. For x above 88.7 the exponential overflows in f32, and the row becomes NaN: verified here on each shape.",
  },
  {
    name: "safe",
    formula: "e<sup>x−m</sup> / Σ e<sup>x−m</sup>, m = max x",
    text: "Subtracts the row's max first, so nothing overflows. The max must be known before the first exponential: one more pass over the row.",
  },
  {
    name: "online",
    formula: "l ← l · e<sup>m−m′</sup> + Σ e<sup>x−m′</sup>",
    text: "Keeps a running max m and sum l, and corrects the sum when the max moves: max and sum in one pass, then one factor per block normalizes. As safe as safe, and it is the step that makes flash attention possible.",
  },
] as const;

/** Three cards: standard, safe, online, with their rates on one shape. */
export function storyCards(report: BenchReport): string {
  const shown = exampleCase(report);
  return STEPS.map(({ name, formula, text }) => {
    const m = shown?.measurements.find((candidate) => candidate.name === name);
    const figure = m === undefined ? "" : `<p class="soft">${digits(m.rate / 1e9)} Gelem/s on ${shown?.name}, ${m.variant} SIMD</p>`;
    return `<div class="card"><h3>${name}</h3><div class="formula">${formula}</div><p>${text}</p>${figure}</div>`;
  }).join("\n");
}

/** A shape where all three differ by what they compute, not by what a call costs. */
function exampleCase(report: BenchReport): CaseResult | undefined {
  const cases = report.suites.find(({ id }) => id === "softmax")?.cases;
  return cases?.find(({ name }) => name === "64×32768") ?? cases?.[0];
}
