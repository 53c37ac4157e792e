import { beforeAll, expect, test } from "vitest";
import { expWgsl, logWgsl } from "../../src/backend/webgpu/kernels/exp-log.ts";
import { unavailable } from "../support/variants.ts";
import { requestRowDevice } from "./rows-device.ts";

const device = await requestRowDevice(false);

if (typeof device === "string") test("exp and log in WGSL", ({ skip }) => unavailable(skip, device));
else suite(device.device);

function suite(gpu: GPUDevice): void {
  const COUNT = 1 << 20;
  /** A prime, so that the mantissas of neighbouring exponents differ. */
  const STEP = 251;
  let pipelines: Record<"exp1" | "exp4" | "log1", GPUComputePipeline>;

  beforeAll(() => {
    const make = (definition: string, call: string): GPUComputePipeline =>
      gpu.createComputePipeline({
        layout: "auto",
        compute: {
          module: gpu.createShaderModule({
            code: `@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
${definition}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { let v = x[id.x]; x[id.x] = ${call}; }`,
          }),
        },
      });
    pipelines = {
      exp1: make(expWgsl("exp1", "f32"), "vec4(exp1(v.x), exp1(v.y), exp1(v.z), exp1(v.w))"),
      exp4: make(expWgsl("exp4", "vec4<f32>"), "exp4(v)"),
      log1: make(logWgsl("log1"), "vec4(log1(v.x), log1(v.y), log1(v.z), log1(v.w))"),
    };
  }, 120_000);

  async function apply(name: keyof typeof pipelines, x: Float32Array): Promise<Float32Array> {
    const buffer = gpu.createBuffer({ size: x.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
    const readback = gpu.createBuffer({ size: x.byteLength, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    gpu.queue.writeBuffer(buffer, 0, new Uint8Array(x.buffer));
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipelines[name]);
    pass.setBindGroup(0, gpu.createBindGroup({ layout: pipelines[name].getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] }));
    pass.dispatchWorkgroups(x.length / 256);
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, x.byteLength);
    gpu.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    const result = new Float32Array(readback.getMappedRange().slice(0));
    buffer.destroy();
    readback.destroy();
    return result;
  }

  /** The largest error in ULP over every 251st f32 from `low` to `high`, both of one sign. */
  async function worst(name: keyof typeof pipelines, f: (x: number) => number, low: number, high: number): Promise<number> {
    const [from = 0, to = 0] = new Uint32Array(Float32Array.of(low, high).buffer);
    let largest = 0;
    for (let at = from; at <= to; at += STEP * COUNT) {
      const x = new Float32Array(Uint32Array.from({ length: COUNT }, (_, i) => Math.min(at + STEP * i, to)).buffer);
      const y = await apply(name, x);
      for (let i = 0; i < COUNT; i++) {
        const wanted = f(x[i] ?? NaN);
        const error = Math.abs((y[i] ?? NaN) - wanted) / 2 ** (Math.floor(Math.log2(Math.abs(wanted))) - 23);
        if (!(error <= largest)) largest = error;
      }
    }
    return largest;
  }

  test.each(["exp1", "exp4"] as const)("%s is off by at most 1.5 ULP where the result is normal", { timeout: 300_000 }, async (name) => {
    expect(await worst(name, Math.exp, -1e-30, -87.33)).toBeLessThanOrEqual(1.5);
    expect(await worst(name, Math.exp, 1e-30, 88.72)).toBeLessThanOrEqual(1.5);
  });

  test.each(["exp1", "exp4"] as const)("%s is exact at the ends", async (name) => {
    const x = new Float32Array(256);
    x.set([0, -0, -87.34, -88, -100, -104, -1e4, -1e30, -3.4028234663852886e38, -Infinity, 88.8]);
    expect([...(await apply(name, x)).subarray(0, 11)]).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, NaN]);
  });

  test("log1 is off by at most 1 ULP", { timeout: 300_000 }, async () => {
    expect(await worst("log1", Math.log, 1.0000001, 2 ** 64)).toBeLessThanOrEqual(1);
    expect((await apply("log1", new Float32Array(256).fill(1)))[0]).toBe(0);
  });
}
