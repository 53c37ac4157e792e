// This machine's GPU, or as much of it as a test wants to see. In a browser it is navigator.gpu; in Node it is that of the `webgpu`
// package (Dawn), which needs a Vulkan driver: lavapipe will do (CONTRIBUTING.md).

/** What remains of an adapter. Features and limits select kernel variants, so a test chooses a variant this way. */
export interface Cut {
  /** Optional features to keep, if the adapter has them. */
  readonly features: readonly GPUFeatureName[];
  /** Whether limits are the lowest that WebGPU allows a device to have. */
  readonly lowestLimits?: boolean;
}

/** An adapter, or why there is none. */
export type FoundGpu =
  | { readonly gpu: GPU; readonly features: ReadonlySet<string>; readonly subgroupSize: number; readonly description: string }
  | { readonly gpu: undefined; readonly reason: string };

/** Looks for a GPU, including software ones. */
export async function findGpu(): Promise<FoundGpu> {
  let gpu: GPU | undefined = (globalThis.navigator as Partial<Navigator> | undefined)?.gpu;
  if (gpu === undefined && typeof process === "object") {
    try {
      const { create } = await import("webgpu");
      // NVIDIA drivers before 615 have f16 only with this toggle; others ignore it.
      gpu = create(["enable-dawn-features=vulkan_enable_f16_on_nvidia"]);
    } catch (error) {
      return { gpu: undefined, reason: `the package "webgpu" cannot be loaded: ${error instanceof Error ? error.message : String(error)}` };
    }
  }
  if (gpu === undefined) return { gpu, reason: "there is no navigator.gpu" };
  const adapter = await gpu.requestAdapter();
  if (adapter === null) return { gpu: undefined, reason: "requestAdapter() gave null: no driver" };
  const { vendor, architecture, description } = adapter.info;
  kept.push(gpu, adapter);
  return {
    gpu,
    features: adapter.features,
    subgroupSize: adapter.info.subgroupMinSize,
    description: [vendor, architecture, description].filter((part) => part !== "").join(" "),
  };
}

/** Dawn for Node loses devices whose GPU object is collected. */
const kept: object[] = [];

let compiled = 0;

/** How many pipelines this process has created. First compiles take seconds on software drivers, so the number matters. */
export function pipelineCount(): number {
  return compiled;
}

/** A GPU whose adapters offer no more than `cut` says. */
export function cutGpu(gpu: GPU, { features, lowestLimits = false }: Cut): Pick<GPU, "requestAdapter"> {
  return {
    async requestAdapter(options) {
      const adapter = await gpu.requestAdapter(options);
      if (adapter === null) return null;
      const left = new Set([...adapter.features].filter((feature) => features.includes(feature as GPUFeatureName)));
      // A device that asks for nothing has the lowest limits. Its adapter then gives no other device.
      const limits = lowestLimits ? (await adapter.requestDevice()).limits : adapter.limits;
      const source = (lowestLimits ? await gpu.requestAdapter(options) : undefined) ?? adapter;
      return {
        features: left,
        limits,
        info: adapter.info,
        async requestDevice(descriptor?: GPUDeviceDescriptor) {
          const refused = [...(descriptor?.requiredFeatures ?? [])].filter((feature) => !left.has(feature));
          if (refused.length > 0) throw new TypeError(`this adapter has no ${refused.join(", ")}`);
          const device = await source.requestDevice(descriptor);
          countPipelines(device);
          return device;
        },
      } as unknown as GPUAdapter;
    },
  };
}

function countPipelines(device: GPUDevice): void {
  const [plain, later] = [device.createComputePipeline.bind(device), device.createComputePipelineAsync.bind(device)];
  device.createComputePipeline = (descriptor) => {
    compiled++;
    return plain(descriptor);
  };
  device.createComputePipelineAsync = (descriptor) => {
    compiled++;
    return later(descriptor);
  };
}
