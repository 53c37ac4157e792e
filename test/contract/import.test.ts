import { describe, expect, test } from "vitest";
import { createInstance, hasRelaxedSimd } from "../../src/testing/testing.ts";
import { runModule } from "../support/child.ts";
import { numbers } from "../support/numbers.ts";
import { unavailable } from "../support/variants.ts";

// In processes of their own: what happens at import cannot be seen from a process that has imported already.

describe("import", () => {
  test("compiles, allocates and starts nothing; the first call does", async () => {
    const printed = await runModule(`
      // Node strips types with a WebAssembly module of its own: make it load that first.
      await import(ONEPASS.replace("index.ts", "errors/errors.ts"));
      const used = [];
      for (const name of ["Module", "Instance", "Memory", "Table", "Global"]) {
        WebAssembly[name] = class { constructor() { used.push(name); throw new Error(name + " at import"); } };
      }
      for (const name of ["validate", "compile", "instantiate"]) WebAssembly[name] = () => { used.push(name); throw new Error(name + " at import"); };
      for (const name of ["setTimeout", "setInterval", "setImmediate", "queueMicrotask", "fetch", "Worker"]) globalThis[name] = () => { used.push(name); throw new Error(name); };
      const onepass = await import(ONEPASS);
      const atImport = used.length;
      try { onepass.softmax(new Float32Array(1)); } catch { }
      console.log(JSON.stringify({ atImport, atCall: used.length > 0 }));
    `);
    expect(JSON.parse(printed)).toEqual({ atImport: 0, atCall: true });
  });

  test("gives the public names and no others", async () => {
    const printed = await runModule(`console.log(Object.keys(await import(ONEPASS)).sort().join(" "))`);
    for (const name of ["BackendError", "DisposedError", "OnlineSoftmax", "UnsupportedError", "empty", "logSoftmax", "logSumExp", "softmax", "tensor"]) {
      expect(printed.split(" ")).toContain(name);
    }
    expect(printed).not.toContain("createInstance");
    expect(printed).not.toContain("default");
  });

  test("needs no process object, as in browsers", async () => {
    const printed = await runModule(`
      const { softmax } = await import(ONEPASS);
      delete globalThis.process;
      console.log(softmax(new Float32Array([0, 0])).data.join());
    `);
    expect(printed).toBe("0.5,0.5");
  });
});

describe("ONEPASS_WASM", () => {
  const x = numbers("normal", 1000);
  const call = `
    const { softmax } = await import(ONEPASS);
    const y = softmax(Float32Array.from(${JSON.stringify([...x])})).data;
    console.log(Buffer.from(y.buffer, y.byteOffset, y.byteLength).toString("hex"));
  `;
  const bitsOf = (variant: "baseline" | "relaxed"): string => Buffer.from((createInstance(variant).softmax(x).data as Float32Array).buffer).toString("hex");

  test("the two variants can be told apart by their bits", ({ skip }) => {
    if (!hasRelaxedSimd()) unavailable(skip, "this JavaScript engine has no relaxed SIMD");
    expect(bitsOf("baseline")).not.toBe(bitsOf("relaxed"));
  });

  test("=baseline forces the baseline", async () => {
    expect(await runModule(call, { ONEPASS_WASM: "baseline" })).toBe(bitsOf("baseline"));
  });

  test("=relaxed forces relaxed SIMD", async ({ skip }) => {
    if (!hasRelaxedSimd()) unavailable(skip, "this JavaScript engine has no relaxed SIMD");
    expect(await runModule(call, { ONEPASS_WASM: "relaxed" })).toBe(bitsOf("relaxed"));
  });

  test("absent or empty takes the faster one that runs here", async () => {
    const fastest = bitsOf(hasRelaxedSimd() ? "relaxed" : "baseline");
    expect(await runModule(call)).toBe(fastest);
    expect(await runModule(call, { ONEPASS_WASM: "" })).toBe(fastest);
  });

  test("=anything else is an error of the first call, not of the import", async () => {
    const printed = await runModule(
      `
      const { softmax, tensor } = await import(ONEPASS);
      const t = tensor(new Float32Array(2), [2]);
      try { softmax(t); } catch (error) { console.log(error.constructor.name, error.message); }
    `,
      { ONEPASS_WASM: "fastest" },
    );
    expect(printed).toBe('RangeError "ONEPASS_WASM" expected "baseline" or "relaxed", got "fastest"');
  });

  test("=relaxed where that is missing is an UnsupportedError", async () => {
    const printed = await runModule(
      `
      const validate = WebAssembly.validate;
      // The probe for plain SIMD is the shorter of the two.
      WebAssembly.validate = (bytes) => bytes.length < 33 && validate(bytes);
      const { softmax } = await import(ONEPASS);
      try { softmax(new Float32Array(2)); } catch (error) { console.log(error.name); }
    `,
      { ONEPASS_WASM: "relaxed" },
    );
    expect(printed).toBe("UnsupportedError");
  });

  test("an engine without SIMD is an UnsupportedError", async () => {
    const printed = await runModule(`
      await import(ONEPASS.replace("index.ts", "errors/errors.ts"));
      WebAssembly.validate = () => false;
      const { softmax } = await import(ONEPASS);
      try { softmax(new Float32Array(2)); } catch (error) { console.log(error.name); }
    `);
    expect(printed).toBe("UnsupportedError");
  });
});
