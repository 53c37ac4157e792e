// The GPU of this machine, as much of it as a test wants to see. In a browser it is navigator.gpu, in Node that of the `webgpu`
// package (Dawn), which needs a Vulkan driver: lavapipe does (CONTRIBUTING.md).

/** What is left of an adapter: variants of kernels follow from features and limits, so this is how a test chooses one. */
export interface Cut {
  /** Optional features that stay, where the adapter has them. */
  readonly features: readonly GPUFeatureName[];
  /** Limits as low as WebGPU allows any device to have them. */
  readonly lowestLimits?: boolean;
}

/** An adapter that was found, or why there is none. */
export type FoundGpu =
  | { readonly gpu: GPU; readonly features: ReadonlySet<string>; readonly subgroupSize: number; readonly description: string }
  | { readonly gpu: undefined; readonly reason: string };

/** Looks for a GPU, software ones included. */
export async function findGpu(): Promise<FoundGpu> {
  let gpu: GPU | undefined = (globalThis.navigator as Partial<Navigator> | undefined)?.gpu;
  if (gpu === undefined && typeof process === "object") {
    try {
      const { create } = await import("webgpu");
      // Drivers of NVIDIA before 615 have f16 behind this; others ignore it.
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

/** How many pipelines have been made in this process. First compiles take seconds on software drivers, so their number matters. */
export function pipelineCount(): number {
  return compiled;
}

/** A GPU whose adapters have no more than `cut` says. */
export function cutGpu(gpu: GPU, { features, lowestLimits = false }: Cut): Pick<GPU, "requestAdapter"> {
  return {
    async requestAdapter(options) {
      const adapter = await gpu.requestAdapter(options);
      if (adapter === null) return null;
      const left = new Set([...adapter.features].filter((feature) => features.includes(feature as GPUFeatureName)));
      // A device that asks for nothing has the lowest limits; the adapter that gave it gives no other.
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
