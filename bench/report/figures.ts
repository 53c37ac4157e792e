import type { DispatchReport } from "../engine/dispatch-report.ts";
import { drawGroups, drawLines, drawPanel, type Bar, type Series } from "./charts.ts";
import { colourOf, FASTER, optionColour, SLOWER } from "./colours.ts";
import { costOf, gpuText, labelOf, leadOf, limitNamed, limitShown, ratioTo, rivalsOf, speedUpOf } from "./derive.ts";
import { digits, duration, share, times } from "./format.ts";
import type { BenchReport, CaseResult, Measurement, SuiteResult } from "./results.ts";

/** A drawing with its heading. */
export interface Figure {
  readonly heading: string;
  readonly note: string;
  readonly svg: string;
}

/** Of the baseline binary only the lead's algorithm is drawn; the tables have all. */
function isDrawn(result: CaseResult, m: Measurement): boolean {
  const lead = leadOf(result);
  return m.group !== "limit" && (m.group !== "onepass" || m.variant !== "baseline" || lead?.variant !== "relaxed" || m.name === lead.name);
}

/** The variant is only said where it is not the usual one. */
function shortLabel(result: CaseResult, m: Measurement): string {
  return m.variant === leadOf(result)?.variant ? m.name : labelOf(m);
}

/** One panel of throughputs per case, all on one scale. */
export function throughputFigures(suite: SuiteResult): readonly Figure[] {
  const drawn = suite.cases.map((result) => result.measurements.filter((m) => isDrawn(result, m)));
  const labelWidth = widthOf(suite.cases.flatMap((result, i) => (drawn[i] ?? []).map((m) => shortLabel(result, m))));
  const limits = suite.cases.map((result) => (limitShown(suite, result)?.rate ?? 0) / 1e9);
  const to = 1.02 * Math.max(...limits, ...drawn.flat().map(({ rate }) => rate / 1e9));
  return suite.cases.flatMap((result, i) => {
    const bars = (drawn[i] ?? []).map((m): Bar => ({
      label: shortLabel(result, m),
      value: m.rate / 1e9,
      text: digits(m.rate / 1e9),
      colour: colourOf(m),
      bold: m.lead,
    }));
    if (bars.length === 0) return [];
    const limit = limitShown(suite, result);
    const line = limit === undefined ? {} : { line: { at: limit.rate / 1e9, name: `limit: ${limit.name}` } };
    return [
      {
        heading: result.name,
        note: result.what,
        svg: drawPanel({ title: `${suite.title}, ${result.name}: ${suite.unit}`, bars, from: 0, to, labelWidth, ...line }),
      },
    ];
  });
}

/** One panel per rival: how many times as fast the lead is, by case. */
export function ratioFigures(suite: SuiteResult): readonly Figure[] {
  const all = rivalsOf(suite).map((rival) => {
    const bars = suite.cases.flatMap((result): Bar[] => {
      const ratio = ratioTo(
        result,
        result.measurements.find(({ name }) => name === rival),
      );
      return ratio === undefined ? [] : [{ label: result.name, value: ratio, text: times(ratio), colour: ratio >= 1 ? FASTER : SLOWER }];
    });
    return { rival, bars };
  });
  const ratios = all.flatMap(({ bars }) => bars.map(({ value }) => value));
  const labelWidth = widthOf(all.flatMap(({ bars }) => bars.map(({ label }) => label)));
  const from = Math.min(0.9, ...ratios.map((ratio) => ratio * 0.9));
  const to = Math.max(2, ...ratios);
  return all.map(({ rival, bars }) => ({
    heading: `against ${rival}`,
    note: "",
    svg: drawPanel({ title: `onepass against ${rival}`, bars, from, to, logarithmic: true, line: { at: 1, name: "same speed" }, labelWidth }),
  }));
}

/** One panel per case: how long a call takes with each option, the lead's call being 100%. */
export function costFigures(suite: SuiteResult): readonly Figure[] {
  const all = suite.cases.flatMap(({ measurements }) => measurements);
  const labelWidth = widthOf(all.map(({ name }) => name));
  const to = Math.max(1, ...suite.cases.flatMap((result) => result.measurements.map((m) => costOf(result, m))));
  return suite.cases.map((result) => ({
    heading: result.name,
    note: result.what,
    svg: drawPanel({
      title: `${suite.title}, ${result.name}: time relative to ${leadOf(result)?.name ?? "the lead"}`,
      bars: result.measurements.map((m): Bar => {
        const value = costOf(result, m);
        return { label: m.name, value, text: share(value), colour: optionColour(m), bold: m.lead };
      }),
      from: 0,
      to,
      line: { at: 1, name: leadOf(result)?.name ?? "" },
      labelWidth,
    }),
  }));
}

/** One panel per case: how many times as fast as the lead the others are, up to the limit. */
export function speedUpFigures(suite: SuiteResult): readonly Figure[] {
  const all = suite.cases.flatMap((result) => result.measurements.map((m) => speedUpOf(result, m)));
  const labelWidth = widthOf(suite.cases.flatMap(({ measurements }) => measurements.map(({ name }) => name)));
  return suite.cases.map((result) => {
    const limit = result.measurements.find(({ group }) => group === "limit");
    return {
      heading: result.name,
      note: result.what,
      svg: drawPanel({
        title: `${suite.title}, ${result.name}: throughput relative to ${leadOf(result)?.name ?? "the lead"}`,
        bars: result.measurements
          .filter(({ group }) => group !== "limit")
          .map((m): Bar => {
            const value = speedUpOf(result, m);
            return { label: m.name, value, text: times(value), colour: optionColour(m), bold: m.lead };
          }),
        from: 0,
        to: 1.02 * Math.max(1, ...all),
        ...(limit === undefined ? {} : { line: { at: speedUpOf(result, limit), name: limit.name } }),
        labelWidth,
      }),
    };
  });
}

/** Every place that an engine computes in, on every shape, and the GPU's limit. */
export function placesOverview(suite: SuiteResult, { environment, engine }: BenchReport): string | undefined {
  const { peak } = suite;
  if (peak === undefined || "unavailable" in engine.gpu) return undefined;
  const names = [...new Set(suite.cases.flatMap(({ measurements }) => measurements.map(({ name }) => name)))];
  const rateIn = (rate: number | undefined): number | null => (rate === undefined ? null : Number((rate / 1e9).toPrecision(4)));
  const series = names.map((name): Series => {
    const found = suite.cases.map(({ measurements }) => measurements.find((m) => m.name === name));
    const any = found.find((m) => m !== undefined);
    return { name, colour: any === undefined ? "" : colourOf(any), values: found.map((m) => rateIn(m?.rate)) };
  });
  return drawGroups(
    `${suite.title}: ${suite.unit}, higher is better`,
    `f32, logarithmic; ${gpuText(engine.gpu)}; ${environment.cpu}, Node ${environment.node}`,
    suite.unit,
    suite.cases.map(({ name, label }) => label ?? name),
    [...series, { name: peak, colour: "", values: suite.cases.map((result) => rateIn(limitNamed(result, peak)?.rate)), isLimit: true }],
    "log",
  );
}

/** One panel per family of calls: time on both sides over the size, and where dispatch moves from one to the other. */
export function crossoverFigures({ families }: DispatchReport): readonly Figure[] {
  return families.map(({ family, predicted, measured, points }) => ({
    heading: family,
    note: `dispatch: ${sizeText(predicted)}; measured: ${sizeText(measured)}`,
    svg: drawLines({
      title: `${family}: time of a call on the CPU and on the GPU`,
      xName: "n",
      lines: [
        { name: "CPU, all threads", colour: SLOWER, points: points.map(({ n, wasmSeconds }) => [n, 1000 * wasmSeconds]) },
        { name: "GPU, per call", colour: FASTER, points: points.map(({ n, webgpuSeconds }) => [n, 1000 * webgpuSeconds]) },
      ],
      marks: [
        { at: predicted, name: "dispatch" },
        { at: measured, name: "measured" },
      ].flatMap(({ at, name }) => (at === undefined || at > (points.at(-1)?.n ?? 0) ? [] : [{ at, name }])),
      yText: duration,
    }),
  }));
}

function sizeText(n: number | undefined): string {
  return n === undefined ? "never on the GPU" : `on the GPU from n = ${n}`;
}

/** One picture for the README: the lead, plain JavaScript and other libraries on every shape, and the peak if the suite has one. */
export function overview(suite: SuiteResult, { environment }: BenchReport): string | undefined {
  const lead = suite.cases.map(leadOf).find((m) => m !== undefined);
  if (lead === undefined) return undefined;
  const rateIn = (rate: number | undefined): number | null => (rate === undefined ? null : Number((rate / 1e9).toFixed(4)));
  const seriesOf = (name: string, find: (result: CaseResult) => Measurement | undefined): Series => {
    const found = suite.cases.map(find);
    const any = found.find((m) => m !== undefined);
    return { name, colour: any === undefined ? "" : colourOf(any), values: found.map((m) => rateIn(m?.rate)) };
  };
  const own = seriesOf("onepass", leadOf);
  const baseline = seriesOf("onepass, baseline SIMD", ({ measurements }) =>
    measurements.find(({ name, variant }) => name === lead.name && variant !== lead.variant),
  );
  const rivals = rivalsOf(suite).map((rival) => seriesOf(rival, ({ measurements }) => measurements.find(({ name }) => name === rival)));
  const { peak } = suite;
  return drawGroups(
    `${suite.title}: ${suite.unit}, higher is better`,
    `one thread, f32, ${environment.cpu}, Node ${environment.node}`,
    suite.unit,
    suite.cases.map(({ name, label }) => label ?? name),
    [
      own,
      ...(peak === undefined ? [] : [baseline]),
      ...rivals,
      ...(peak === undefined ? [] : [{ name: peak, colour: "", values: suite.cases.map((result) => rateIn(limitNamed(result, peak)?.rate)), isLimit: true }]),
    ],
  );
}

/** Room for labels at the panels' font size. */
function widthOf(labels: readonly string[]): number {
  return Math.min(190, Math.max(60, ...labels.map((label) => 12 + label.length * 6.7)));
}
