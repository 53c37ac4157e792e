import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import type { Gpu } from "../backend/webgpu/recorder/gpu.ts";
import { calibrate } from "./calibrate.ts";
import type { Calibration } from "./calibration.ts";
import type { Device, GpuState } from "./dispatch.ts";
import { BackendError, messageOf } from "../errors/errors.ts";
import type { GPUDeviceLike, GPULike } from "../tensor/gpu-types.ts";
import { prepareProbe } from "./prepare-probe.ts";

/** The GPU of an engine: finds it, calibrates it, and replaces it when its device is lost. Or knows why there is none. */
export class EngineGpu {
  readonly #device: "auto" | Device;
  readonly #given: GPULike | GPUDeviceLike | undefined;
  #calibration: Calibration | undefined;
  #gpu: Gpu | undefined;
  #state: GpuState;
  #disposed = false;

  /** `given` is the caller's GPU or device, `calibration` one measured before. */
  constructor(device: "auto" | Device, given: GPULike | GPUDeviceLike | undefined, calibration: Calibration | undefined) {
    this.#device = device;
    this.#given = given;
    this.#calibration = calibration;
    this.#state = { usable: false, lost: false, reason: device === "wasm" ? 'the engine was created with device "wasm"' : "no GPU has been asked for yet" };
  }

  /** `undefined` if there is none, or none at the moment. */
  get current(): Gpu | undefined {
    return this.#gpu;
  }

  /** What dispatch knows about it. */
  get state(): GpuState {
    return this.#state;
  }

  get calibration(): Calibration | undefined {
    return this.#calibration;
  }

  /** @throws BackendError with the reason if there is none */
  need(): Gpu {
    if (this.#gpu === undefined) throw new BackendError(`WebGPU is off: ${this.#state.usable ? "the engine has no GPU" : this.#state.reason}`);
    return this.#gpu;
  }

  /**
   * Finds the GPU, and calibrates if there is a choice of device.
   *
   * @throws BackendError if the engine needs a GPU and there is none
   */
  async open(cpu: Cpu): Promise<void> {
    if (this.#device === "wasm") return;
    try {
      const gpu = await this.#find();
      if (this.#device === "auto") this.#calibration ??= await this.#calibrate(cpu, gpu);
      this.#use(gpu);
    } catch (error) {
      const reason = messageOf(error);
      this.#state = { usable: false, lost: false, reason };
      if (this.#device === "webgpu") throw new BackendError(`no GPU: ${reason}`, { cause: error });
    }
  }

  dispose(): void {
    this.#disposed = true;
    this.#gpu?.dispose();
    this.#gpu = undefined;
  }

  async #find(): Promise<Gpu> {
    const { openGpu } = await import("../backend/webgpu/recorder/gpu.ts");
    const gpu = await openGpu(this.#given);
    if (gpu.info().emulated && this.#device === "auto" && this.#given === undefined) {
      gpu.dispose();
      throw new BackendError("the adapter is an emulation on the CPU");
    }
    return gpu;
  }

  async #calibrate(cpu: Cpu, gpu: Gpu): Promise<Calibration> {
    try {
      const measured = await calibrate(
        (device, task) => prepareProbe(cpu, gpu, device, task),
        () => performance.now() / 1000,
      );
      // Probes use more memory than most calls do.
      gpu.trim();
      return measured;
    } catch (error) {
      gpu.dispose();
      throw new BackendError(`calibration failed: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Uses a GPU. When its device is lost, finds another if it can; until then calls run on the CPU. */
  #use(gpu: Gpu): void {
    if (this.#disposed) {
      gpu.dispose();
      return;
    }
    this.#gpu = gpu;
    this.#state = { usable: true, maxBufferBytes: gpu.traits.bufferBytes, maxSpanBytes: gpu.maxSpanBytes };
    void gpu.lost.then(async (cause) => {
      if (this.#gpu !== gpu || this.#disposed) return;
      const used = gpu.completed > 0;
      const reason = `the device was lost: ${cause}`;
      this.#gpu = undefined;
      this.#state = { usable: false, lost: true, reason };
      gpu.dispose();
      // A device that was passed in cannot be replaced, and one lost before it completed a call would only be lost again.
      if (!used || (this.#given !== undefined && "createBuffer" in this.#given)) return;
      try {
        this.#use(await this.#find());
      } catch (error) {
        this.#state = { usable: false, lost: true, reason: `${reason}; another could not be had: ${messageOf(error)}` };
      }
    });
  }
}
