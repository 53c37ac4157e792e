import type { Measurement } from "./results.ts";

// Chart colours that stand out from a white and from a dark page alike. Blues are ours.

const OWN: Readonly<Record<string, string>> = { standard: "#a9c3ee", safe: "#7aa2e6", online: "#4a80da" };
/** Places where an engine computes, and ways to get there. */
const PLACES: Readonly<Record<string, string>> = { "GPU, per call": "#e0a035", "GPU, recorded": "#7aa2e6", "CPU, 1 thread": "#a99fd8" };
const ALL_THREADS = "#6f5fc0";
const LEAD = "#2463c9";
const BASELINE = "#8b7bd0";
const PLAIN_ARRAYS = "#3f95b5";
const OTHERS: Readonly<Record<string, string>> = {
  "plain JavaScript": "#959ba3",
  "onnxruntime-web": "#e07f35",
  "tfjs-backend-wasm": "#cf9f1c",
  "jax-js": "#43a06c",
  "onnxruntime-node": "#c24b63",
};
/** An attention call with each of its options. */
const OPTION = "#5f8fdc";
const UNKNOWN = "#777777";

/** The colour of one contender, the same in every chart. */
export function colourOf({ name, group, variant, lead }: Pick<Measurement, "name" | "group" | "variant" | "lead">): string {
  if (name.startsWith("onnxruntime WebGPU")) return name.endsWith("chained") ? "#43a06c" : "#c24b63";
  if (group !== "onepass") return OTHERS[name] ?? UNKNOWN;
  if (lead) return LEAD;
  const place = PLACES[name];
  if (place !== undefined) return place;
  if (/^CPU, \d+ threads$/.test(name)) return ALL_THREADS;
  if (variant === "baseline") return BASELINE;
  return OWN[name] ?? PLAIN_ARRAYS;
}

/** The colour of a call with an option, beside the call without. */
export function optionColour({ lead }: Pick<Measurement, "lead">): string {
  return lead ? LEAD : OPTION;
}

/** Faster and slower than what one compares with. */
export const FASTER = "#2f8f5b";
export const SLOWER = "#d0662f";

/** Placeholders that become the page's text colour, and a faint form of it, once a chart is drawn. */
export const INK = "#010203";
export const FAINT = "#040506";
