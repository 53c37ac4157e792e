import { describe, expect, test, vi } from "vitest";
import { type FoundDevice, type NoDevice, findDevice } from "../../src/backend/webgpu/device/device.ts";
import { storageOf } from "../../src/backend/webgpu/device/traits.ts";
import { nullGpu } from "./toy.ts";
import { BASE_TRAITS } from "./variants.ts";

function found(search: FoundDevice | NoDevice): FoundDevice {
  if ("reason" in search) throw new Error(search.reason);
  return search;
}

/** A GPU whose adapter is changed before it is used. */
function changed(gpu: GPU, change: (adapter: GPUAdapter) => object | null): GPU {
  return {
    async requestAdapter() {
      const adapter = await gpu.requestAdapter();
      return adapter === null ? null : change(adapter);
    },
  } as unknown as GPU;
}

describe("a device", () => {
  test("gets as much as the adapter has, and tells what it is", async () => {
    const gpu = await nullGpu();
    const adapter = await gpu.requestAdapter();
    const { device, owned, traits, info } = found(await findDevice(gpu));
    expect(owned).toBe(true);
    expect(traits.workgroupStorage).toBe(adapter?.limits.maxComputeWorkgroupStorageSize);
    expect(traits.bindingBytes).toBe(adapter?.limits.maxStorageBufferBindingSize);
    expect(traits.bufferBytes).toBe(adapter?.limits.maxBufferSize);
    expect(device.limits.maxStorageBuffersPerShaderStage).toBe(adapter?.limits.maxStorageBuffersPerShaderStage);
    expect(device.limits.maxComputeInvocationsPerWorkgroup).toBe(adapter?.limits.maxComputeInvocationsPerWorkgroup);
    expect(traits.f16).toBe(true);
    expect(traits.subgroups).toEqual({ min: 4, max: 128 });
    expect(info.reasons).toEqual([]);
    expect([...device.features].filter((name) => name !== "core-features-and-limits").sort()).toEqual(["shader-f16", "subgroups"]);
    device.destroy();
  });

  test("says why something is off, and how it is done without", async () => {
    const gpu = changed(await nullGpu(), (adapter) => ({
      features: new Set(["timestamp-query"]),
      limits: adapter.limits,
      info: adapter.info,
      requestDevice: adapter.requestDevice.bind(adapter),
    }));
    const { device, traits, info } = found(await findDevice(gpu));
    expect(traits.subgroups).toBeUndefined();
    expect(traits.f16).toBe(false);
    expect(info.reasons).toEqual(["no subgroups: reductions go through workgroup memory", "no shader-f16: f16 is read with unpack2x16float"]);
    device.destroy();
  });

  test("that is given is used with what it has: here, what every device has", async () => {
    const gpu = await nullGpu();
    const adapter = await gpu.requestAdapter();
    const device = await adapter?.requestDevice();
    if (device === undefined) throw new Error("the null backend has a device");
    const search = found(await findDevice(device));
    expect(search.device).toBe(device);
    expect(search.owned).toBe(false);
    expect(search.traits).toEqual(BASE_TRAITS);
    expect(search.info.reasons).toHaveLength(2);
    device.destroy();
  });

  test("whose adapter states no subgroup sizes may have any", async () => {
    const gpu = changed(await nullGpu(), (adapter) => ({
      features: adapter.features,
      limits: adapter.limits,
      async requestDevice(descriptor: GPUDeviceDescriptor) {
        const device = await adapter.requestDevice(descriptor);
        Object.defineProperty(device, "adapterInfo", { value: undefined });
        return device;
      },
    }));
    const { device, traits, info } = found(await findDevice(gpu));
    expect(traits.subgroups).toEqual({ min: 4, max: 128 });
    expect(info).toMatchObject({ vendor: "", architecture: "", description: "", isFallback: false });
    device.destroy();
  });

  test("is refused when it is none", async () => {
    await expect(findDevice({} as never)).rejects.toThrow(new TypeError('"gpu" expected a GPU or a GPUDevice, got Object'));
  });
});

describe("no device", () => {
  test("has the reason that there is no adapter", async () => {
    expect(await findDevice({ requestAdapter: () => Promise.resolve(null) })).toEqual({ reason: "no adapter: the platform offers no GPU" });
  });

  test("has the platform's reason for refusing one", async () => {
    const gpu = changed(await nullGpu(), (adapter) => ({
      features: adapter.features,
      limits: adapter.limits,
      requestDevice: () => Promise.reject(new Error("driver says no")),
    }));
    expect(await findDevice(gpu)).toEqual({ reason: "no device: driver says no" });
  });

  test("has the reason that Node's package is not installed, or does not load", async () => {
    const missing = Object.assign(new Error("Cannot find package 'webgpu' imported from here"), { code: "ERR_MODULE_NOT_FOUND" });
    expect(await findDevice(undefined, () => Promise.reject(missing))).toEqual({ reason: 'the package "webgpu" is not installed' });
    const broken = Object.assign(new Error("/lib/libc.so.6: version `GLIBC_2.38' not found"), { code: "ERR_DLOPEN_FAILED" });
    expect(await findDevice(undefined, () => Promise.reject(broken))).toEqual({
      reason: `the package "webgpu" does not load: /lib/libc.so.6: version \`GLIBC_2.38' not found`,
    });
  });

  test("has the reason that a browser has no navigator.gpu", async () => {
    vi.stubGlobal("process", { versions: {} });
    try {
      expect(await findDevice(undefined, () => Promise.reject(new Error("browsers import nothing")))).toEqual({
        reason: "this platform has no navigator.gpu (browsers have it in secure contexts only)",
      });
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("the platform's GPU", () => {
  test("is navigator.gpu where there is one", async () => {
    const gpu = await nullGpu();
    vi.stubGlobal("navigator", { gpu });
    try {
      const { device, gpu: kept } = found(await findDevice(undefined, () => Promise.reject(new Error("nothing has to be imported"))));
      expect(kept).toBe(gpu);
      device.destroy();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test("is that of the package in Node, made once", async () => {
    const gpu = await nullGpu();
    let loads = 0;
    const load = () => {
      loads++;
      return Promise.resolve({ create: () => gpu });
    };
    for (let i = 0; i < 2; i++) found(await findDevice(undefined, load)).device.destroy();
    expect(loads).toBe(1);
  });
});

test("f16 is read as such where shaders may, in pairs elsewhere", () => {
  expect(storageOf("f32", BASE_TRAITS)).toBe("f32");
  expect(storageOf("f16", BASE_TRAITS)).toBe("f16-packed");
  expect(storageOf("f16", { f16: true })).toBe("f16");
});
