import type { ScoreCall } from "../../../calls/attention-call.ts";
import { CHUNK_KEYS } from "../../../calls/blocks.ts";
import type { Block, BlockSize, RowPlaces } from "./attention-blocks.ts";
import { BlockOperands } from "./attention-operands.ts";
import { type Copy, type Group, type KernelCall, Layout, type Machine, type Plan, type Stage, type Table, type Task } from "./plan.ts";
import { type Range, joinTasks, workPerTask } from "./schedule.ts";

// Attention and attention scores are computed block by block; both plans are made here. A stage holds the keys and values of some heads
// and as many blocks attending to them as fit. If bias, mask or block mask have to be copied, a stage may hold only part of the keys:
// the blocks then continue from stage to stage.

/** Keys of a part on one thread. All parts are multiples of it, so tiles and chunks lie where they would in a single part. */
export const PART_KEYS = CHUNK_KEYS.wasm;
/** One thread gains nothing from large stages. Short blocks share a stage, so that it is worth its overhead. */
const ONE_THREAD_BYTES = 1 << 15;
/** With several threads, a stage should have at least this many blocks for each. */
const BLOCKS_PER_THREAD = 4;

/** Some keys of a block, and where its data is in module memory. */
export interface Part extends Range {
  readonly block: Block;
  /** Whether it is the first, or the last, part of its block. */
  readonly first: boolean;
  readonly last: boolean;
  /** The description of the block for kernels, and copies of its operands. */
  readonly description: number;
  readonly copies: number;
  /** Room for results. */
  readonly results: number;
  /** Scratch that lasts for the whole block: an address, or an offset into the thread's scratch. */
  readonly scratch: number;
  readonly relative: boolean;
}

/** A part whose calls are split into several tasks. */
export interface CutPart {
  readonly calls: readonly (readonly KernelCall[])[];
  /** What runs when all of them are done. */
  readonly group: Group | undefined;
}

/** What to compute for each block. */
export interface BlockProgram {
  /** The families whose kernels it calls. */
  readonly families: Plan["families"];
  readonly blockCount: number;
  /** The largest size of each kind of block that occurs. */
  readonly sizes: readonly BlockSize[];
  readonly blocks: () => Iterator<Block, undefined>;
  /** The largest number of keys that a sequence looks at. */
  readonly longest: number;
  /** Scratch of a block while it is computed. */
  readonly scratchBytes: number;
  /** Room for a block's results, and for the results of each key of a part. */
  readonly resultBytes: number;
  readonly resultBytesPerKey: number;
  /** Where the results of a block's rows go. */
  readonly results: (part: Part) => { readonly out: RowPlaces; readonly lse: RowPlaces | undefined };
  readonly calls: (part: Part) => readonly KernelCall[];
  readonly cut: (part: Part) => CutPart | undefined;
  readonly copyOut: (part: Part, out: Copy[]) => void;
  /** How long a part takes. */
  readonly costNs: (part: Part) => number;
}

/** A block in progress: its number in the stage, its head's number, and the key at which it continues. */
interface Begun {
  readonly block: Block;
  readonly slot: number;
  readonly head: number;
  from: number;
}

/** Plans the blocks of a call. */
export function planBlocks(call: ScoreCall, program: BlockProgram, machine: Machine): Plan {
  const { memory, threads, divides } = machine;
  const { blockCount, longest } = program;
  const operands = new BlockOperands(call, memory, program.sizes, longest);
  const { headBytes } = operands;
  const budget = divides ? machine.stageBytes : Math.min(machine.stageBytes, ONE_THREAD_BYTES);
  const wanted = !divides ? 1 : Math.min(blockCount, BLOCKS_PER_THREAD * threads);

  // All keys go in one part, unless the data that grows with them takes too much room.
  const whole = Math.ceil((longest + PART_KEYS - 1) / PART_KEYS) * PART_KEYS;
  const bytesPerKey = operands.bytesPerKey + program.resultBytesPerKey;
  let partKeys = whole;
  if (bytesPerKey > 0) {
    const fixed = operands.layout(0).bytes + program.resultBytes + program.scratchBytes;
    const fitting = !divides ? 1 : Math.floor(((budget - headBytes) / wanted - fixed) / (bytesPerKey * PART_KEYS));
    partKeys = Math.min(Math.max(fitting, 1) * PART_KEYS, whole);
  }
  const continues = partKeys < whole;
  const at = operands.layout(partKeys);
  const layout = new Layout();
  layout.take(at.bytes);
  const results = layout.take(program.resultBytes + program.resultBytesPerKey * partKeys);
  const scratch = layout.take(continues ? program.scratchBytes : 0);
  const blockBytes = layout.bytes;
  const capacity = capacityOf(blockCount, call.sequences.length * call.kvHeads, headBytes, blockBytes + at.words * 4, budget, wanted);
  const stageLayout = new Layout();
  const descriptions = stageLayout.take(capacity.blocks * at.words * 4);
  const heads = stageLayout.take(capacity.heads * headBytes);
  const blocks = stageLayout.take(capacity.blocks * blockBytes);
  // On one thread all blocks use the same scratch, one after the other.
  const shared = stageLayout.take(continues || divides ? 0 : program.scratchBytes);

  const stages = (base: number): (() => Stage | undefined) => {
    const iterator = program.blocks();
    let coming = iterator.next().value;
    let previous: Block | undefined;
    let head = -1;
    let begun: Begun[] = [];
    const placeOf = (number: number): number => base + heads + (number % capacity.heads) * headBytes;

    /** Takes as many blocks as a stage holds. Heads take places in turn, so the current one stays where it is. */
    const begin = (into: Copy[]): void => {
      let room = capacity.heads - (coming !== undefined && sameHead(previous, coming) ? 1 : 0);
      for (; coming !== undefined && begun.length < capacity.blocks; coming = iterator.next().value) {
        if (!sameHead(previous, coming)) {
          if (room-- === 0) break;
          operands.loadHead(coming, placeOf(++head), into);
          previous = coming;
        }
        begun.push({ block: coming, slot: begun.length, head, from: Math.floor(coming.low / PART_KEYS) * PART_KEYS });
      }
    };

    return () => {
      const stage = { tables: [] as Table[], in: [] as Copy[], tasks: [] as Task[], out: [] as Copy[] };
      begun = continues ? begun.filter(({ block, from }) => from < block.high) : [];
      if (begun.length === 0) begin(stage.in);
      if (begun.length === 0) return undefined;
      const slots = (begun.at(-1)?.slot ?? 0) + 1;
      const i32 = new Int32Array(slots * at.words);
      const words = { i32, f32: new Float32Array(i32.buffer) };
      stage.tables.push({ address: base + descriptions, words: i32 });
      const parts: Part[] = [];
      for (const one of begun) {
        const { block, slot, from } = one;
        const to = Math.min(from + partKeys, block.high);
        const copies = base + blocks + slot * blockBytes;
        const part: Part = {
          block,
          from,
          to,
          first: from <= block.low,
          last: to >= block.high,
          description: base + descriptions + slot * at.words * 4,
          copies,
          results: copies + results,
          scratch: continues ? copies + scratch : divides ? 0 : base + shared,
          relative: divides && !continues,
        };
        operands.describe(part, at, placeOf(one.head), program.results(part), words, slot * at.words, stage);
        program.copyOut(part, stage.out);
        parts.push(part);
        one.from = to;
      }
      if (!divides) for (const part of parts) stage.tasks.push({ calls: program.calls(part) });
      else addTasks(program, parts, machine, stage.tasks);
      return stage;
    };
  };
  return { families: program.families, stageBytes: stageLayout.bytes, threadBytes: divides ? program.scratchBytes : 0, stages };
}

/** Whether two blocks attend to the same keys. */
function sameHead(a: Block | undefined, b: Block): boolean {
  return a?.sequence === b.sequence && a.kvHead === b.kvHead;
}

/** How many heads and blocks a stage holds: as many as fit, but at least one head and `wanted` blocks. */
function capacityOf(
  blockCount: number,
  headCount: number,
  headBytes: number,
  blockBytes: number,
  budget: number,
  wanted: number,
): { readonly heads: number; readonly blocks: number } {
  const perHead = Math.ceil(blockCount / headCount);
  const heads = headBytes === 0 ? headCount : Math.min(headCount, Math.max(1, Math.floor(budget / (headBytes + perHead * blockBytes))));
  const fitting = Math.floor((budget - heads * headBytes) / blockBytes);
  return { heads, blocks: Math.min(blockCount, Math.max(fitting, wanted)) };
}

/** Adds tasks for several threads: whole parts, joined until they are worth a task, and the pieces of split parts. */
function addTasks(program: BlockProgram, parts: readonly Part[], { threads, tuning }: Machine, tasks: Task[]): void {
  const costs = parts.map((part) => program.costNs(part));
  const least = workPerTask(
    costs.reduce((sum, cost) => sum + cost, 0),
    threads,
    tuning,
  );
  let open = 0;
  const close = (end: number): void => {
    for (const { from, to } of joinTasks(costs.slice(open, end), least))
      tasks.push({ calls: parts.slice(open + from, open + to).flatMap((part) => program.calls(part)) });
    open = end + 1;
  };
  parts.forEach((part, p) => {
    const cut = program.cut(part);
    if (cut === undefined) return;
    close(p);
    const cost = (costs[p] ?? 0) / cut.calls.length;
    const ranges = joinTasks(
      cut.calls.map(() => cost),
      least,
    );
    for (const { from, to } of ranges) tasks.push({ calls: cut.calls.slice(from, to).flat(), ...(cut.group && { group: cut.group }) });
  });
  close(parts.length);
}
