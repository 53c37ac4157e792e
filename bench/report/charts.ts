import * as echarts from "echarts";
import { FAINT, INK } from "./colours.ts";

// Charts as SVG text, drawn without a browser. Text takes the colour of the page it is on, so one drawing suits light and dark.

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

/** One bar of a panel. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What stands behind the bar. */
  readonly text: string;
  readonly colour: string;
  readonly bold?: boolean;
}

/** A short list of labelled bars. */
export interface Panel {
  readonly bars: readonly Bar[];
  /** Where the axis starts and ends; a logarithmic one starts above 0. */
  readonly from: number;
  readonly to: number;
  readonly logarithmic?: boolean;
  /** A dashed line with a name. */
  readonly line?: { readonly at: number; readonly name: string };
  /** Room for the labels, in pixels of the drawing. */
  readonly labelWidth: number;
  readonly title: string;
}

const PANEL_WIDTH = 340;
const BAR_PITCH = 19;

/** Horizontal bars, top to bottom in the order given. */
export function drawPanel(panel: Panel): string {
  const { bars, line, labelWidth } = panel;
  const top = line === undefined ? 4 : 20;
  const height = top + bars.length * BAR_PITCH + 4;
  return draw(PANEL_WIDTH, height, panel.title, {
    grid: { left: labelWidth, right: 44, top, bottom: 4 },
    xAxis: { type: panel.logarithmic === true ? "log" : "value", min: panel.from, max: panel.to, show: false },
    yAxis: {
      type: "category",
      inverse: true,
      data: bars.map(({ label, bold }) => ({ value: label, textStyle: { fontWeight: bold === true ? "bold" : "normal" } })),
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: { color: INK, fontSize: 11.5, fontFamily: FONT, interval: 0, margin: 6 },
    },
    series: [
      {
        type: "bar",
        barWidth: 13,
        data: bars.map(({ value, colour, text, bold }) => ({
          value,
          itemStyle: { color: colour, borderRadius: 2 },
          label: {
            show: true,
            position: "right",
            distance: 4,
            formatter: text,
            color: INK,
            fontSize: 11.5,
            fontFamily: FONT,
            fontWeight: bold === true ? "bold" : "normal",
          },
        })),
        ...(line === undefined
          ? {}
          : {
              markLine: {
                symbol: "none",
                animation: false,
                data: [{ xAxis: line.at }],
                lineStyle: { color: INK, type: "dashed", opacity: 0.55, width: 1 },
                label: { formatter: line.name, position: "start", color: INK, fontSize: 10.5, fontFamily: FONT, distance: 3 },
              },
            }),
      },
    ],
  });
}

/** A line of points. */
export interface Line {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines over logarithmic axes, with a legend, and dashed marks on the x axis. */
export interface LinePanel {
  readonly title: string;
  readonly xName: string;
  readonly lines: readonly Line[];
  readonly marks: readonly { readonly at: number; readonly name: string }[];
  /** What stands at the ticks of the y axis. */
  readonly yText: (value: number) => string;
}

/** Lines that cross somewhere. */
export function drawLines({ title, xName, lines, marks, yText }: LinePanel): string {
  const xs = lines.flatMap(({ points }) => points.map(([x]) => x));
  const text = { color: INK, fontFamily: FONT, fontSize: 10.5 };
  return draw(PANEL_WIDTH, 230, title, {
    legend: { top: 0, left: 0, itemWidth: 14, itemHeight: 8, itemGap: 12, textStyle: { ...text, fontSize: 11.5 } },
    grid: { left: 50, right: 14, top: 44, bottom: 34 },
    xAxis: {
      type: "log",
      logBase: 2,
      min: Math.min(...xs),
      max: Math.max(...xs),
      name: xName,
      nameLocation: "middle",
      nameGap: 20,
      nameTextStyle: text,
      axisLabel: { ...text, hideOverlap: true },
      axisLine: { lineStyle: { color: FAINT } },
      splitLine: { show: false },
    },
    yAxis: { type: "log", axisLabel: { ...text, formatter: yText }, splitLine: { lineStyle: { color: FAINT } } },
    series: lines.map(({ name, colour, points }, i) => ({
      name,
      type: "line",
      symbolSize: 5,
      itemStyle: { color: colour },
      lineStyle: { color: colour, width: 2 },
      data: points.map((point) => [...point]),
      ...(i > 0
        ? {}
        : {
            markLine: {
              symbol: "none",
              animation: false,
              data: marks.map(({ at, name: mark }, row) => ({ xAxis: at, label: { formatter: mark, distance: [0, 2 + 12 * row] } })),
              lineStyle: { color: INK, type: "dashed", opacity: 0.55, width: 1 },
              label: { ...text, position: "end" },
            },
          }),
    })),
  });
}

/** Values of one contender over the categories of a grouped chart; null where it has none. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly values: readonly (number | null)[];
  /** A dashed line across the groups instead of bars: a limit. */
  readonly isLimit?: boolean;
}

/** What a dashed line looks like in a legend. */
const DASHES = "path://M0 5h5v2H0zM7 5h5v2H7z";

/** Vertical bars in groups, with a legend: the picture of the README. A logarithmic axis suits values that differ a thousandfold. */
export function drawGroups(
  title: string,
  subtitle: string,
  unit: string,
  categories: readonly string[],
  series: readonly Series[],
  scale: "value" | "log" = "value",
): string {
  const lines = Math.max(...categories.map((name) => name.split("\n").length));
  // Logarithmic bars have to start somewhere: at the power of ten below the least of them.
  const least = Math.min(...(series.flatMap(({ values }) => values.filter((value) => value !== null && value > 0)) as number[]));
  const start = 10 ** Math.floor(Math.log10(least));
  return draw(1040, 430, title, {
    title: {
      text: title,
      subtext: subtitle,
      left: 12,
      top: 8,
      textStyle: { color: INK, fontSize: 17, fontFamily: FONT },
      subtextStyle: { color: INK, fontSize: 12.5, fontFamily: FONT },
    },
    legend: {
      ...{ top: 62, left: 8, itemWidth: 12, itemHeight: 12, itemGap: series.length > 6 ? 21 : 26 },
      textStyle: { color: INK, fontSize: series.length > 6 ? 12 : 12.5, fontFamily: FONT },
      data: series.map(({ name, isLimit }) => (isLimit === true ? { name, icon: DASHES } : { name })),
    },
    grid: { left: 52, right: 16, top: 112, bottom: 18 + 16 * lines },
    xAxis: {
      type: "category",
      data: [...categories],
      axisLine: { lineStyle: { color: FAINT } },
      axisTick: { show: false },
      axisLabel: { color: INK, fontSize: lines > 1 ? 10.5 : 12, lineHeight: 15, fontFamily: FONT, interval: 0 },
    },
    yAxis: {
      type: scale,
      ...(scale === "log" ? { min: start, startValue: start } : {}),
      name: unit,
      nameTextStyle: { color: INK, fontFamily: FONT, fontSize: 12, align: "right" },
      axisLabel: { color: INK, fontFamily: FONT, fontSize: 12 },
      splitLine: { lineStyle: { color: FAINT } },
    },
    series: series.map(({ name, colour, values, isLimit }) => (isLimit === true ? limitLine(name, values) : groupBars(name, colour, values))),
  });
}

function groupBars(name: string, colour: string, values: Series["values"]): object {
  return {
    name,
    type: "bar",
    barGap: "12%",
    barCategoryGap: "22%",
    itemStyle: { color: colour, borderRadius: [2, 2, 0, 0] },
    data: [...values],
  };
}

function limitLine(name: string, values: Series["values"]): object {
  return { name, type: "line", symbol: "none", lineStyle: { color: INK, type: "dashed", width: 1.2 }, itemStyle: { color: INK }, data: [...values] };
}

function draw(width: number, height: number, title: string, option: echarts.EChartsCoreOption): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg
    .replaceAll(INK, "currentColor")
    .replaceAll(FAINT, "var(--faint, #8886)")
    .replace(/<svg width="\d+" height="\d+"/, `<svg role="img" aria-label="${title.replaceAll('"', "&quot;")}"`);
}

/** A drawing as a file of its own: on a white card, because whoever embeds it decides about the page around it. */
export function standalone(svg: string): string {
  return svg.replace(/<svg ([^>]*)>/, (_, attributes: string) => {
    const [, size = "0 0 1040 430"] = /viewBox="([^"]*)"/.exec(attributes) ?? [];
    const [, , width, height] = size.split(" ");
    return `<svg width="${width}" height="${height}" style="color:#1f2328;--faint:#d0d7de" ${attributes}><rect width="100%" height="100%" rx="8" fill="#ffffff"/>`;
  });
}
