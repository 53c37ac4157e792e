import { create, globals } from "webgpu";
import { beforeAll, describe, expect, test } from "vitest";
import { type RowKey, rowBuffers, rowProgram } from "../../src/backend/webgpu/kernels/rows.ts";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import { BASE_BUFFERS, BASE_TRAITS, ROW_KEYS } from "./variants.ts";

// Dawn without a driver: the compiler checks everything, and nothing runs.
Object.assign(globalThis, globals);
const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
let device: GPUDevice;

beforeAll(async () => {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("the null backend is part of the webgpu package");
  device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
});

const nameOf = (key: RowKey): string => rowProgram(key).name;

describe("the shaders of the row operations", () => {
  test("have a name of their own each", () => {
    expect(new Set(ROW_KEYS.map(nameOf)).size).toBe(8);
  });

  test.each(ROW_KEYS.map((key) => [nameOf(key), key] as const))("%s compiles", async (_, key) => {
    await new PipelineCache(device).compile(rowProgram(key));
  });

  test.each(ROW_KEYS.map((key) => [nameOf(key), key] as const))("%s stays within the limits that every device has", (_, key) => {
    const program = rowProgram(key);
    const storage = program.bindings.filter((kind) => kind !== "uniform");
    expect(storage).toHaveLength(Object.keys(rowBuffers(key)).length);
    expect(storage.length).toBeLessThanOrEqual(BASE_BUFFERS);
    // 256 states of 8 bytes.
    expect(program.wgsl.match(/var<workgroup>/g)).toHaveLength(1);
    expect(256 * 8).toBeLessThanOrEqual(BASE_TRAITS.workgroupStorage);
    expect(program.features).toEqual(key.subgroups ? ["subgroups"] : []);
  });
});
