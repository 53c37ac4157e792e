import * as echarts from "echarts";
import { formatted } from "./format.ts";
import type { Chart } from "./report.ts";

// Charts as SVG text, drawn without a browser. Text takes the colour of the page it is on, so one drawing suits light and dark.

/** Placeholders that become the page's text colour, and a faint form of it, once a chart is drawn. */
const INK = "#010203";
const FAINT = "#040506";

/** They stand out from a white and from a dark page alike. Blues are ours; a contender has the same colour in every chart. Others take the next of `PALETTE`. */
const COLOURS: readonly (readonly [pattern: RegExp, colour: string])[] = [
  [/baseline/, "#8b7bd0"],
  [/^1 thread, plain/, "#c4c8cd"],
  [/plain arrays/, "#3f95b5"],
  [/^onepass|^auto|^attention|^GPU, resident|^GPU$/, "#2463c9"],
  [/^standard/, "#a9c3ee"],
  [/^safe|^GPU, recorded/, "#7aa2e6"],
  [/^online/, "#4a80da"],
  [/^plain JavaScript|^1 thread/, "#959ba3"],
  [/^onnxruntime-web/, "#e07f35"],
  [/^tfjs|^GPU, per call/, "#cf9f1c"],
  [/^jax-js|chained$/, "#43a06c"],
  [/^onnxruntime/, "#c24b63"],
  [/^CPU, 1 thread/, "#a99fd8"],
  [/^CPU|threads/, "#6f5fc0"],
];

const PALETTE = ["#2463c9", "#43a06c", "#e07f35", "#8b7bd0", "#cf9f1c", "#c24b63"];

const textOf = (fontSize: number): object => ({ color: INK, fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", fontSize });

const [WIDTH, HEIGHT] = [1040, 430];
/** With no more bars than this there is room for a number on each. */
const LABELLED = 24;
/** What a dashed line looks like in a legend. */
const DASHES = "path://M0 5h5v2H0zM7 5h5v2H7z";

/** A chart as SVG: vertical bars in groups, with a legend. */
export function drawChart({ title, about, unit, categories, series, isLogarithmic }: Chart): string {
  const lines = Math.max(...categories.map((name) => name.split("\n").length));
  const barCount = categories.length * series.filter(({ isLimit }) => isLimit !== true).length;
  // Logarithmic bars have to start somewhere: at the power of ten below the least of them.
  const start = 10 ** Math.floor(Math.log10(Math.min(...series.flatMap(({ values }) => values.filter((value) => value !== null)))));
  const isCrowded = series.length > 6;
  const label = { ...textOf(10), show: barCount <= LABELLED, position: "top", distance: 3 };
  const option = {
    animation: false,
    color: PALETTE,
    title: { text: title, subtext: about, left: 12, top: 8, textStyle: textOf(17), subtextStyle: textOf(12.5) },
    legend: {
      ...{ top: 62, left: 8, right: 8, itemWidth: 12, itemHeight: 12, itemGap: isCrowded ? 22 : 28, textStyle: textOf(isCrowded ? 11.5 : 12.5) },
      data: series.map(({ name, isLimit }) => (isLimit === true ? { name, icon: DASHES } : { name })),
    },
    grid: { left: 76, right: 16, top: isCrowded ? 124 : 100, bottom: 18 + 16 * lines },
    xAxis: {
      ...{ type: "category", data: [...categories], axisLine: { lineStyle: { color: FAINT } }, axisTick: { show: false } },
      axisLabel: { ...textOf(lines > 1 ? 10.5 : 12), lineHeight: 15, interval: 0 },
    },
    yAxis: {
      ...(isLogarithmic === true ? { type: "log", min: start, startValue: start } : { type: "value" }),
      ...{
        name: unit === "ms" ? "time" : unit === "×" ? "ratio" : unit,
        nameLocation: "middle",
        nameGap: 50,
        nameTextStyle: textOf(12),
        splitLine: { lineStyle: { color: FAINT } },
      },
      axisLabel: { ...textOf(12), formatter: (value: number) => formatted(value, unit) },
    },
    series: series.map(({ name, values, isLimit }) => {
      const color = isLimit === true ? INK : COLOURS.find(([pattern]) => pattern.test(name))?.[1];
      const data = values.map((value) => (value === null ? null : { value, label: { formatter: formatted(value, unit) } }));
      if (isLimit === true) return { name, data, type: "line", symbol: "none", lineStyle: { color, type: "dashed", width: 1.2 }, itemStyle: { color } };
      return { name, data, type: "bar", barMaxWidth: 70, barGap: "12%", barCategoryGap: "22%", label, itemStyle: { color, borderRadius: [2, 2, 0, 0] } };
    }),
  };
  const drawing = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  drawing.setOption(option);
  const svg = drawing.renderToSVGString();
  drawing.dispose();
  return svg
    .replaceAll(INK, "currentColor")
    .replaceAll(FAINT, "var(--faint, #8886)")
    .replace(/<svg width="\d+" height="\d+"/, `<svg role="img" aria-label="${title.replaceAll('"', "&quot;")}, ${unit}"`);
}

/** A drawing as a file of its own: on a white card, because whoever embeds it decides about the page around it. */
export function standalone(svg: string): string {
  const card = `<rect width="100%" height="100%" rx="8" fill="#ffffff"/>`;
  return svg.replace(/<svg ([^>]*)>/, `<svg width="${WIDTH}" height="${HEIGHT}" style="color:#1f2328;--faint:#d0d7de" $1>${card}`);
}
