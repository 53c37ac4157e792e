import { describe, expect, test } from "vitest";
import type { SampleOptions } from "../../src/index.ts";
import { tensor } from "../../src/index.ts";
import { LOGITS } from "../cases/logits.ts";
import { type SampleReference, distribution, uniform } from "../reference/sampling.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { numbers } from "../support/numbers.ts";
import { describeSubjects } from "../support/subjects.ts";

const SETTINGS: readonly SampleReference[] = [
  {},
  { temperature: 0.3 },
  { temperature: 5 },
  { temperature: 0 },
  { temperature: 1e-30 },
  { topK: 1 },
  { topK: 5, temperature: 0.8 },
  { topK: 1500 },
  { topK: 50, topP: 0.9, temperature: 0.7 },
  { topK: 50, topP: 0.9, temperature: 0.7, temperatureLast: true },
  { topP: 0.9 },
  { topP: 0.5, temperature: 2 },
  { topP: 0.999 },
  { topP: 1e-9 },
  { topP: 0 },
  { minP: 0.1 },
  { minP: 1 },
  { minP: 1e-6, temperature: 3 },
  { minP: 0.02, topP: 0.95, temperature: 1.5, temperatureLast: true },
  { logitBias: { 0: 3, 2: -Infinity } },
  { previous: [0, 0, 1], repetitionPenalty: 1.3, frequencyPenalty: 0.5, presencePenalty: 0.25, topP: 0.8 },
  { topP: 0.5, temperature: 1e38 },
];
const SIZES = [3, 64, 1025, 3000] as const;
const DRAWS = 24;

const expected = memoize((name: string, cols: number, setting: number) => {
  const row = LOGITS.find((c) => c.name === name)?.row(cols) ?? new Float32Array();
  const { kept, probs } = distribution(row, SETTINGS[setting] ?? {});
  // Where a token's share of the interval [0, 1) begins.
  let before = 0;
  return new Map(kept.map((token, n) => [token, { from: before, to: (before += probs[n] ?? 0), prob: probs[n] ?? 0 }]));
});

/** Many draws from the same row: a view that repeats it. */
const repeated = (row: Float32Array, times: number) => ({ data: row, shape: [times, row.length], strides: [0, 1] });

describeSubjects("sample", (subject) => {
  describe.each(byName(LOGITS))("%s", (name, { row }) => {
    test.each(SIZES)("%d columns", async (cols) => {
      const x = row(cols);
      for (const [setting, options] of SETTINGS.entries()) {
        const shares = expected(name, cols, setting);
        if (![...shares.values()].some(({ prob }) => prob > 0)) continue;
        const { tokens, logProbs } = await subject.sample(repeated(x, DRAWS), { ...options, seed: 7, step: setting });
        const wrong = [...tokens.data].filter((token, r) => {
          const { from = NaN, to = NaN, prob = NaN } = shares.get(token) ?? {};
          const [u, error] = [uniform(7, setting, r), Math.abs((logProbs.data[r] ?? NaN) - Math.log(prob))];
          // Weights are f32, off by 1e-6 relative at most.
          return !(u >= from - 1e-6 && u <= to + 1e-6 && error <= 2e-6 + 1e-6 * Math.abs(Math.log(prob)));
        });
        expect(wrong, JSON.stringify(options)).toEqual([]);
      }
    });
  });

  test("ties at the border of k and of p go to the lower index", async () => {
    const x = Float32Array.of(0, 1, 0, 1, 0, 1, 0, 1);
    const drawn = async (options: SampleOptions): Promise<number[]> => {
      const { tokens } = await subject.sample(repeated(x, 400), { ...options, seed: 3 });
      return [...new Set(tokens.data)].sort((a, b) => a - b);
    };
    expect(await drawn({ topK: 3 })).toEqual([1, 3, 5]);
    expect(await drawn({ topK: 5 })).toEqual([0, 1, 3, 5, 7]);
    const equal = new Float32Array(10);
    const { tokens } = await subject.sample(repeated(equal, 400), { topP: 0.5, seed: 3 });
    expect([...new Set(tokens.data)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  });

  test("top-p alone over many equal logits, and over a million that are not", async () => {
    // Weights of 1 add up exactly: half of 40,000 are the first 20,000.
    const equal = new Float32Array(40_000).fill(3);
    const { tokens, logProbs } = await subject.sample(repeated(equal, 60), { topP: 0.5, seed: 1 });
    tokens.data.forEach((token, r) => expect(token).toBe(Math.floor(uniform(1, 0, r) * 20_000)));
    expect(logProbs.data[0]).toBeCloseTo(-Math.log(20_000), 5);
    const many = numbers("normal", 1_000_000).map((v) => v / 4);
    const total = many.reduce((sum, v) => sum + Math.exp(v), 0);
    for (let step = 0; step < 3; step++) {
      const { tokens, logProbs } = await subject.sample(many, { topP: 0.9, seed: 5, step });
      const [token = -1, logProb] = [tokens.data[0], logProbs.data[0]];
      // The kept ones have 0.9 of the probability, and a millionth more at most.
      expect(logProb).toBeCloseTo((many[token] ?? NaN) - Math.log(0.9 * total), 4);
    }
  });

  test("the same seed, step and row give the same token; another seed or step does not", async () => {
    const x = numbers("normal", 64 * 500);
    const draw = async (options: SampleOptions): Promise<number[]> => [...(await subject.sample(tensor(x, [64, 500]), options)).tokens.data];
    const one = await draw({ seed: 2 ** 40 + 5, step: 2 ** 33 });
    expect(await draw({ seed: 2 ** 40 + 5, step: 2 ** 33 })).toEqual(one);
    for (const other of [
      { seed: 5, step: 2 ** 33 },
      { seed: 2 ** 40 + 5, step: 0 },
      { seed: 2 ** 40 + 6, step: 2 ** 33 },
    ])
      expect(await draw(other)).not.toEqual(one);
  });

  test("penalties are those of the row; previous tokens may be given once for all", async () => {
    const x = tensor(new Float32Array(6), [2, 3]);
    const previous = [[0, 1], Int32Array.of(1, 2, 2)];
    expect([...(await subject.sample(x, { temperature: 0, previous, presencePenalty: 1 })).tokens.data]).toEqual([2, 0]);
    expect([...(await subject.sample(x, { temperature: 0, previous: [0, 1], frequencyPenalty: 1 })).tokens.data]).toEqual([2, 2]);
    expect([...x.data]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("logits in the subject's memory stay as they are when penalties change them", async () => {
    const kept = await subject.keep(Float32Array.of(1, 2, 3, 4));
    const { tokens } = await subject.sample(kept.view(0, [1, 4]), { temperature: 0, logitBias: { 3: -5 } });
    expect([...tokens.data]).toEqual([2]);
    expect([...(await kept.read())]).toEqual([1, 2, 3, 4]);
    kept.dispose();
  });

  test("along any axis, into arrays with gaps", async () => {
    const x = numbers("normal", 5 * 40 * 2);
    const out = { tokens: tensor(new Int32Array(20).fill(-7), [5, 2], { strides: [4, 2] }), logProbs: new Float32Array(10) };
    const result = await subject.sample(tensor(x, [5, 40, 2]), { axis: 1, temperature: 0, out });
    expect(result.tokens).toBe(out.tokens);
    for (let i = 0; i < 5; i++) {
      for (let j = 0; j < 2; j++) {
        const row = Array.from({ length: 40 }, (_, c) => x[i * 80 + c * 2 + j] ?? NaN);
        expect(out.tokens.data[i * 4 + j * 2]).toBe(row.indexOf(Math.max(...row)));
      }
    }
    expect(out.tokens.data.filter((token) => token === -7).length).toBe(10);
  });

  // Cells that expect 5 draws or more; 1% of tests with other seeds would fail.
  test("draws follow the distribution: χ² over a million draws in 20 settings", async () => {
    const row = numbers("normal", 24);
    const settings = SETTINGS.slice(0, 20);
    for (const [i, options] of settings.entries()) {
      const draws = 1_000_000 / settings.length;
      const { tokens } = await subject.sample(repeated(row, draws), { ...options, seed: 11, step: i });
      const { kept, probs } = distribution(row, options);
      const counts = new Float64Array(row.length);
      for (const token of tokens.data) counts[token] = (counts[token] ?? 0) + 1;
      let [chi, cells] = [0, 0];
      kept.forEach((token, n) => {
        const wanted = (probs[n] ?? 0) * draws;
        if (wanted < 5) return;
        chi += ((counts[token] ?? 0) - wanted) ** 2 / wanted;
        cells++;
      });
      expect(chi, JSON.stringify(options)).toBeLessThanOrEqual(chiSquareLimit(cells - 1));
      // Nothing is drawn that is not kept.
      expect(kept.reduce((n, token) => n + (counts[token] ?? 0), 0)).toBe(draws);
    }
  });
});

/** The value that χ² exceeds in 1% of cases (Wilson and Hilferty). */
function chiSquareLimit(freedom: number): number {
  if (freedom <= 0) return 1e-9;
  const spread = 2 / (9 * freedom);
  return freedom * (1 - spread + 2.3263 * Math.sqrt(spread)) ** 3;
}
