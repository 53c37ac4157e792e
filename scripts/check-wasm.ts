// Checks the binaries against each other, the engines that run them and the pages that load them. Needs a build.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import binaryen from "assemblyscript/binaryen";
import { Checks } from "./checks.ts";
import { FAMILIES as SHIPPED } from "../src/backend/wasm/module/families.ts";
import { VARIANT_SECTION } from "../src/backend/wasm/module/features.ts";
import { shareMemoryOf } from "../src/backend/wasm/module/shared-binary.ts";
import { TARGETS, type Target, assemble, forEachAtOnce } from "./assemble.ts";
import { FAMILIES } from "./families.ts";
import { checkCore, checkSoftmax, checkWebGpu } from "./sizes.ts";

/** Size limit of a .wasm file, by family; `whole` is all shipped families in one. */
const MAX_WASM_BYTES: Readonly<Record<string, number>> = {
  rows: 16 * 1024,
  attention: 19.5 * 1024,
  sampling: 14.75 * 1024,
  linear: 2.5 * 1024,
  testing: 1.75 * 1024,
  whole: 47 * 1024,
};
/** Static data stays in the first page. Addresses from here on belong to the allocator. */
const STATIC_DATA_BYTES = 65536;
const PAGE_BYTES = 65536;
/** The maximum number of pages that the binaries declare for their memory: all of a 32-bit address space. */
const MAXIMUM_PAGES = 65536;

// The limits of an imported memory start with a byte of flags: bit 0 means that a maximum follows, bit 1 that the memory is shared.
const FLAG_MAXIMUM = 0x01;
const FLAG_SHARED = 0x02;

const root = fileURLToPath(new URL("..", import.meta.url));
/** What a target belongs to: a family, or the whole. */
const familyOf = ({ family }: Target): string => family?.name ?? "whole";

function readBinary({ name }: Target): Buffer<ArrayBuffer> {
  return Buffer.from(readFileSync(join(root, `build/${name}.wasm`)));
}

/** Every export as "name(params): results". */
function signatures(bytes: Uint8Array): string[] {
  const module = binaryen.readBinary(bytes);
  const names = new Map(
    [binaryen.i32, binaryen.i64, binaryen.f32, binaryen.f64, binaryen.v128].map((type, i) => [type, ["i32", "i64", "f32", "f64", "v128"][i]]),
  );
  const list = (type: number): string =>
    binaryen
      .expandType(type)
      .map((t) => names.get(t) ?? "?")
      .join(", ");
  const found: string[] = [];
  for (let i = 0; i < module.getNumExports(); i++) {
    const { name, value, kind } = binaryen.getExportInfo(module.getExportByIndex(i));
    assert.equal(kind, binaryen.ExternalFunction, `"${name}" is not a function`);
    const { params, results } = binaryen.getFunctionInfo(module.getFunction(value));
    found.push(`${name}(${list(params)}): ${list(results)}`);
  }
  module.dispose();
  return found.sort();
}

/** How often each relaxed SIMD instruction occurs in the code. All of them have `relaxed` in their names. */
function relaxedInstructions(bytes: Uint8Array): Map<string, number> {
  const module = binaryen.readBinary(bytes);
  const counts = new Map<string, number>();
  for (let i = 0; i < module.getNumFunctions(); i++) {
    const text = binaryen.emitText(binaryen.getFunctionInfo(module.getFunctionByIndex(i)).body);
    for (const [, name = ""] of text.matchAll(/\((\w+\.relaxed_\w+)/g)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  module.dispose();
  return counts;
}

/** The offset of the flags in the imported memory's limits: right after its name and kind. */
function memoryFlagsOffset(bytes: Uint8Array): number {
  const name = Buffer.from("\x03env\x06memory\x02", "latin1"); // two strings with their lengths, then the kind: memory
  const at = Buffer.from(bytes).indexOf(name);
  assert.notEqual(at, -1, "no import of env.memory");
  return at + name.length;
}

/** The binaries as the compiler makes them for shared memory. */
async function assembleShared(): Promise<ReadonlyMap<Target, Buffer>> {
  const directory = mkdtempSync(join(tmpdir(), "onepass-shared-"));
  try {
    const shared = new Map<Target, Buffer>();
    await forEachAtOnce(TARGETS, async (target) => {
      const options = ["--sharedMemory", "--enable", "threads"];
      shared.set(target, await assemble(target, join(directory, `${target.name}.wasm`), options));
    });
    return shared;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Where a binary writes static data on instantiation: the first address, and one past the last. */
function staticData(bytes: Uint8Array<ArrayBuffer>): { readonly start: number; readonly end: number } {
  const module = new WebAssembly.Module(bytes);
  let [start, end] = [STATIC_DATA_BYTES, 0];
  // Data may contain any byte, but it differs from at least one of two fillings.
  for (const filling of [0x00, 0xff]) {
    // Throws if the data does not fit.
    const memory = new WebAssembly.Memory({ initial: STATIC_DATA_BYTES / PAGE_BYTES, maximum: MAXIMUM_PAGES });
    const all = new Uint8Array(memory.buffer).fill(filling);
    new WebAssembly.Instance(module, { env: { memory } });
    let [first, behind] = [0, all.length];
    while (first < all.length && all[first] === filling) first++;
    while (behind > 0 && all[behind - 1] === filling) behind--;
    start = Math.min(start, first);
    end = Math.max(end, behind);
  }
  return { start, end };
}

const checks = new Checks();

const shared = await assembleShared();

for (const family of [...FAMILIES.map(({ name }) => name), "whole"]) {
  const targets = TARGETS.filter((target) => familyOf(target) === family);
  const [baseline, relaxed] = targets.map(readBinary) as [Buffer<ArrayBuffer>, Buffer<ArrayBuffer>];

  await checks.run(`${family}: both variants export the same functions`, () => {
    const exported = signatures(baseline);
    assert.ok(exported.length > 0, "no exports");
    assert.deepEqual(signatures(relaxed), exported);
    return `${exported.length} exports`;
  });

  await checks.run(`${family}: the baseline has no relaxed SIMD instruction`, () => {
    assert.deepEqual([...relaxedInstructions(baseline)], []);
    return undefined;
  });

  await checks.run(`${family}: the relaxed binary has relaxed SIMD instructions`, () => {
    const found = relaxedInstructions(relaxed);
    assert.ok(found.size > 0, "none found");
    return [...found].map(([name, count]) => `${count} ${name}`).join(", ");
  });

  for (const target of targets) {
    const bytes = readBinary(target);

    await checks.run(`${target.name}: imports env.memory and nothing else`, () => {
      assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(bytes)), [{ module: "env", name: "memory", kind: "memory" }]);
      return undefined;
    });

    await checks.run(`${target.name}: says which variant it is`, () => {
      const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(bytes), VARIANT_SECTION);
      assert.equal(Buffer.from(section ?? new ArrayBuffer(0)).toString(), target.variant);
      return undefined;
    });

    await checks.run(`${target.name}: static data lies in its own part of the first page`, () => {
      const { start, end } = staticData(bytes);
      if (start >= end) return "none";
      const base = target.family?.memoryBase ?? 0;
      // The whole binary has its memory to itself.
      const others = target.family === undefined ? [] : FAMILIES.map(({ memoryBase }) => memoryBase).filter((at) => at > base);
      const limit = Math.min(STATIC_DATA_BYTES, ...others);
      assert.ok(start >= base && end <= limit, `it reaches from ${start} to ${end}, outside of ${base} to ${limit}`);
      return `${start} to ${end} of ${base} to ${limit}`;
    });

    await checks.run(`${target.name}: one byte makes it the shared-memory binary`, () => {
      const expected = shared.get(target) ?? assert.fail("not compiled");
      const offset = memoryFlagsOffset(bytes);
      assert.equal(bytes[offset], FLAG_MAXIMUM, `flags of the imported memory at byte ${offset}`);
      const patched = Buffer.from(bytes);
      patched[offset] = FLAG_MAXIMUM | FLAG_SHARED;
      assert.equal(expected.length, patched.length, "length of the binary compiled with --sharedMemory");
      const difference = patched.findIndex((byte, i) => byte !== expected[i]);
      assert.equal(difference, -1, `byte ${difference} differs from the binary compiled with --sharedMemory`);
      assert.ok(patched.equals(shareMemoryOf(Uint8Array.from(bytes))), "the runtime changes another byte");
      const module = new WebAssembly.Module(patched);
      const limits = { initial: 1, maximum: MAXIMUM_PAGES };
      const instance = new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory({ ...limits, shared: true }) } });
      assert.deepEqual(Object.keys(instance.exports).length, WebAssembly.Module.exports(new WebAssembly.Module(bytes)).length);
      assert.throws(
        () => new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory(limits) } }),
        WebAssembly.LinkError,
        "the patched binary accepts memory that is not shared",
      );
      return `byte ${offset}`;
    });

    await checks.run(`${target.name}: size`, () => {
      const most = MAX_WASM_BYTES[family] ?? assert.fail("no budget");
      assert.ok(bytes.length <= most, `${bytes.length} bytes, more than ${most}`);
      return `${bytes.length} of ${most} bytes`;
    });
  }
}

await checks.run("no kernel is in two families, and the whole binaries have those of all that are shipped", () => {
  const exportsOf = (family: string): string[] =>
    TARGETS.filter((t) => familyOf(t) === family && t.variant === "baseline").flatMap((t) => signatures(readBinary(t)));
  const all = FAMILIES.flatMap(({ name }) => exportsOf(name));
  assert.equal(new Set(all).size, all.length, "kernels of all families are different ones");
  assert.deepEqual(
    exportsOf("whole"),
    FAMILIES.filter(({ shipped }) => shipped)
      .flatMap(({ name }) => exportsOf(name))
      .sort(),
  );
  return `${exportsOf("whole").length} exports`;
});

await checks.run("engines load the families that are shipped, in the order of the table", () => {
  const shipped = FAMILIES.flatMap((family, index) => (family.shipped ? [index] : []));
  assert.deepEqual(
    SHIPPED.map(({ binaries }) => binaries.index),
    shipped,
  );
  return undefined;
});

await checks.run("size of what import loads, gzipped", () => checkCore(join(root, "dist")));
await checks.run("size of softmax alone, gzipped", () => checkSoftmax(join(root, "dist")));
await checks.run("size of what the GPU needs besides, gzipped", async () => (await checkWebGpu(join(root, "dist"))) ?? "there is no such part");

checks.finish("check-wasm");
