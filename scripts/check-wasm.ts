// Checks what the two binaries promise each other, the engines that run them and the pages that load them. Needs a build.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import binaryen from "assemblyscript/binaryen";
import { Checks } from "./checks.ts";
import { VARIANT_SECTION } from "../src/backend/wasm/module/features.ts";
import { shareMemoryOf } from "../src/backend/wasm/module/shared-binary.ts";
import { markVariant } from "./mark-variant.ts";
import { checkCore, checkWebGpu } from "./sizes.ts";

/** Bytes of one .wasm file. */
const MAX_WASM_BYTES = 32 * 1024;
/** Static data stays in the first page: addresses from here on are the allocator's. */
const STATIC_DATA_PAGES = 1;
/** Pages that the binaries declare as their memory's maximum: all of a 32-bit address space. */
const MAXIMUM_PAGES = 65536;

// The limits of an imported memory begin with a byte of flags: bit 0 says that a maximum follows, bit 1 that it is shared.
const FLAG_MAXIMUM = 0x01;
const FLAG_SHARED = 0x02;

const VARIANTS = ["baseline", "relaxed"] as const;
type Variant = (typeof VARIANTS)[number];

const root = fileURLToPath(new URL("..", import.meta.url));
const binaries: Readonly<Record<Variant, Buffer<ArrayBuffer>>> = { baseline: readBinary("baseline"), relaxed: readBinary("relaxed") };

function readBinary(variant: Variant): Buffer<ArrayBuffer> {
  return Buffer.from(readFileSync(join(root, `build/${variant}.wasm`)));
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

/** How often each relaxed SIMD instruction occurs in the code, all of which have `relaxed` in their names. */
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

/** Where the flags of the imported memory's limits lie: right behind its name and kind. */
function memoryFlagsOffset(bytes: Uint8Array): number {
  const name = Buffer.from("\x03env\x06memory\x02", "latin1"); // two strings with their lengths, then the kind: memory
  const at = Buffer.from(bytes).indexOf(name);
  assert.notEqual(at, -1, "no import of env.memory");
  return at + name.length;
}

/** The binary as the compiler makes it for shared memory. */
function assembleShared(variant: Variant): Buffer {
  const directory = mkdtempSync(join(tmpdir(), "onepass-shared-"));
  try {
    const outFile = join(directory, "shared.wasm");
    const options = ["--target", variant, "--sharedMemory", "--enable", "threads", "--outFile", outFile];
    execFileSync(process.execPath, [join(root, "node_modules/assemblyscript/bin/asc.js"), ...options], { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
    return markVariant(readFileSync(outFile), variant);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const checks = new Checks();

await checks.run("both binaries export the same functions", () => {
  const baseline = signatures(binaries.baseline);
  assert.ok(baseline.length > 0, "no exports");
  assert.deepEqual(signatures(binaries.relaxed), baseline);
  return `${baseline.length} exports`;
});

await checks.run("the baseline has no relaxed SIMD instruction", () => {
  assert.deepEqual([...relaxedInstructions(binaries.baseline)], []);
  return undefined;
});

await checks.run("the relaxed binary has relaxed SIMD instructions", () => {
  const found = relaxedInstructions(binaries.relaxed);
  assert.ok(found.size > 0, "none found");
  return [...found].map(([name, count]) => `${count} ${name}`).join(", ");
});

for (const variant of VARIANTS) {
  const bytes = binaries[variant];

  await checks.run(`${variant}: imports env.memory and nothing else`, () => {
    assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(bytes)), [{ module: "env", name: "memory", kind: "memory" }]);
    return undefined;
  });

  await checks.run(`${variant}: says which it is`, () => {
    const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(bytes), VARIANT_SECTION);
    assert.equal(Buffer.from(section ?? new ArrayBuffer(0)).toString(), variant);
    return undefined;
  });

  await checks.run(`${variant}: static data fits in the first page`, () => {
    // Instantiation writes the data segments, and throws where they do not fit.
    const memory = new WebAssembly.Memory({ initial: STATIC_DATA_PAGES, maximum: MAXIMUM_PAGES });
    new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
    const written = Buffer.from(memory.buffer).toString("latin1").replace(/\0+$/, "").length;
    assert.ok(written > 0, "no static data was written");
    return `ends at ${written} of ${memory.buffer.byteLength}`;
  });

  await checks.run(`${variant}: one byte makes it the shared-memory binary`, () => {
    const shared = assembleShared(variant);
    const offset = memoryFlagsOffset(bytes);
    assert.equal(bytes[offset], FLAG_MAXIMUM, `flags of the imported memory at byte ${offset}`);
    const patched = Buffer.from(bytes);
    patched[offset] = FLAG_MAXIMUM | FLAG_SHARED;
    assert.equal(shared.length, patched.length, "length of the binary compiled with --sharedMemory");
    const difference = patched.findIndex((byte, i) => byte !== shared[i]);
    assert.equal(difference, -1, `byte ${difference} differs from the binary compiled with --sharedMemory`);
    assert.ok(patched.equals(shareMemoryOf(Uint8Array.from(bytes))), "the runtime changes another byte");
    const module = new WebAssembly.Module(patched);
    const maximum = MAXIMUM_PAGES;
    const instance = new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory({ initial: STATIC_DATA_PAGES, maximum, shared: true }) } });
    assert.deepEqual(Object.keys(instance.exports).length, WebAssembly.Module.exports(new WebAssembly.Module(bytes)).length);
    assert.throws(
      () => new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory({ initial: STATIC_DATA_PAGES, maximum }) } }),
      WebAssembly.LinkError,
      "the patched binary accepts memory that is not shared",
    );
    return `byte ${offset}`;
  });

  await checks.run(`${variant}: size`, () => {
    assert.ok(bytes.length <= MAX_WASM_BYTES, `${bytes.length} bytes, more than ${MAX_WASM_BYTES}`);
    return `${bytes.length} of ${MAX_WASM_BYTES} bytes`;
  });
}

await checks.run("size of what import loads, gzipped", () => checkCore(join(root, "dist")));
await checks.run("size of what the GPU needs besides, gzipped", async () => (await checkWebGpu(join(root, "dist"))) ?? "there is no such part");

checks.finish("check-wasm");
