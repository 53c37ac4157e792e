import { describe } from "../errors/errors.ts";
import { parseFinite, parseObject, parseWithin } from "../errors/options.ts";
import { kindOf } from "../tensor/tensor.ts";
import { parseInteger } from "./sampling-arguments.ts";
import type { Adjustment, SampleCall } from "./sampling-call.ts";

/** The options of `sample` that change single logits. */
interface AdjustmentOptions {
  readonly logitBias?: unknown;
  readonly previous?: unknown;
  readonly repetitionPenalty?: unknown;
  readonly frequencyPenalty?: unknown;
  readonly presencePenalty?: unknown;
}

/** Checks logit bias and penalties, and counts previous tokens. */
export function parseAdjustments(options: AdjustmentOptions, cols: number, rows: number): Pick<SampleCall, "adjustments" | "penalties"> {
  const penalties = {
    repetition: parseWithin("repetitionPenalty", options.repetitionPenalty, 1, Number.MIN_VALUE),
    frequency: parseFinite("frequencyPenalty", options.frequencyPenalty, 0),
    presence: parseFinite("presencePenalty", options.presencePenalty, 0),
  };
  const biases = options.logitBias === undefined ? [] : parseBiases(options.logitBias, cols);
  const lists = options.previous === undefined ? [] : parsePrevious(options.previous, cols, rows);
  const penalised = penalties.repetition !== 1 || penalties.frequency !== 0 || penalties.presence !== 0;
  if (biases.length === 0 && !(penalised && lists.some(({ length }) => length > 0))) return { penalties, adjustments: [] };
  const adjustments = (penalised && lists.length > 0 ? lists : [[]]).map((tokens) => {
    const byToken = new Map<number, Adjustment>(biases.map(([token, bias]) => [token, { count: 0, bias }]));
    for (const token of tokens) {
      const { count = 0, bias = 0 } = byToken.get(token) ?? {};
      byToken.set(token, { count: count + 1, bias });
    }
    return byToken;
  });
  return { penalties, adjustments };
}

function parseBiases(value: unknown, cols: number): (readonly [token: number, bias: number])[] {
  return Object.entries(parseObject("logitBias", value)).map(([key, bias]) => {
    const token = parseToken("logitBias", Number(key), cols);
    if (bias !== -Infinity) parseFinite(`logitBias[${key}]`, bias, 0);
    return [token, bias as number];
  });
}

/** A list for each row, or a single one for all. */
function parsePrevious(value: unknown, cols: number, rows: number): (readonly number[])[] {
  const perRow = Array.isArray(value) && value.some((item) => typeof item !== "number");
  const lists = perRow ? (value as readonly unknown[]) : [value];
  if (perRow && lists.length !== rows) throw new RangeError(`"previous" expected one list of tokens for all or one per row (${rows}), got ${lists.length}`);
  return lists.map((list, row) => {
    const name = perRow ? `previous[${row}]` : "previous";
    if (!Array.isArray(list) && kindOf(list) !== "Int32Array")
      throw new TypeError(`"${name}" expected an Int32Array or an array of tokens, got ${describe(list)}`);
    return Array.from(list as ArrayLike<unknown>, (token) => parseToken(name, token, cols));
  });
}

function parseToken(name: string, token: unknown, cols: number): number {
  return parseInteger(name, token, 0, cols - 1);
}
