import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { unavailable } from "../support/variants.ts";
import { requestRowDevice } from "./rows-device.ts";

const device = await requestRowDevice(true);

const missing = typeof device === "string" ? device : device.device.adapterInfo.description.includes("llvmpipe") ? undefined : "only lavapipe lets us choose";

describe("subgroups of other sizes", () => {
  // The size is that of the vectors which lavapipe compiles to, and is read once per process.
  test.for([4, 8, 16])("%d lanes", { timeout: 300_000 }, async (size, { skip }) => {
    if (missing !== undefined) {
      unavailable(skip, missing);
      return;
    }
    const cache = process.env["MESA_SHADER_CACHE_DIR"];
    const env = {
      ...process.env,
      LP_NATIVE_VECTOR_WIDTH: String(32 * size),
      // Compiled code is not kept apart by width.
      ...(cache === undefined ? { MESA_SHADER_CACHE_DISABLE: "true" } : { MESA_SHADER_CACHE_DIR: `${cache}-${size}` }),
    };
    const script = fileURLToPath(new URL("rows-widths-child.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", script], { env, maxBuffer: 1 << 24 });
    const result = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { size: { min: number; max: number }; worst: number; checked: number; failures: string[] };
    expect(result.size).toEqual({ min: size, max: size });
    expect(result.failures).toEqual([]);
    expect(result.checked).toBeGreaterThan(200);
  });
});
