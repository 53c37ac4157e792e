import { describe, expect, test } from "vitest";
import { BufferPool, CHECKED_BYTES, NUMBERS, READBACK, pooledBytes, sizeClass } from "../../src/backend/webgpu/device/buffers.ts";
import { BackendError } from "../../src/errors/errors.ts";

/** A device of which only the buffers matter; `starved` buffers find no memory. */
function fakeDevice(starved: (size: number) => boolean = () => false) {
  const made: { size: number; usage: number; destroyed: boolean; destroy(): void }[] = [];
  const scopes: { error: object | null }[] = [];
  const device = {
    limits: { maxBufferSize: 2 ** 30 },
    createBuffer({ size, usage }: { size: number; usage: number }) {
      const buffer = { size, usage, destroyed: false, destroy: () => void (buffer.destroyed = true) };
      made.push(buffer);
      const scope = scopes.at(-1);
      if (starved(size) && scope !== undefined) scope.error = { message: "no memory" };
      return buffer;
    },
    pushErrorScope: () => void scopes.push({ error: null }),
    popErrorScope: () => Promise.resolve(scopes.pop()?.error ?? null),
  };
  return { device: device as unknown as GPUDevice, made };
}

describe("size classes", () => {
  test("hold what they are for, waste a fifth at most, and are multiples of 4", () => {
    for (let bytes = 1; bytes < 5_000_000; bytes += 1 + Math.floor(bytes / 7)) {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size % 4).toBe(0);
      if (bytes > 256) expect((size - bytes) / size, `of ${bytes}`).toBeLessThanOrEqual(0.2);
    }
  });

  test("are the same for a class's own size", () => {
    for (const bytes of [0, 1, 256, 257, 320, 321, 1024, 1025, 1 << 20]) expect(sizeClass(sizeClass(bytes))).toBe(sizeClass(bytes));
  });
});

describe("buffer pool", () => {
  test("counts bytes in use and bytes that wait", () => {
    const { device } = fakeDevice();
    const pool = new BufferPool(device);
    const a = pool.acquire(100, NUMBERS);
    const b = pool.acquire(1000, NUMBERS);
    expect(pool.state).toEqual({ inUse: 256 + 1024, pooled: 0, created: 2 });
    pool.release(a);
    expect(pool.state).toEqual({ inUse: 1024, pooled: 256, created: 2 });
    pool.release(b);
    expect(pool.state).toEqual({ inUse: 0, pooled: 1280, created: 2 });
  });

  test("gives a buffer again for a size of its class and the same usage only", () => {
    const { device } = fakeDevice();
    const pool = new BufferPool(device);
    const a = pool.acquire(1000, NUMBERS);
    pool.release(a);
    expect(pool.acquire(1000, READBACK)).not.toBe(a);
    expect(pool.acquire(2000, NUMBERS)).not.toBe(a);
    expect(pool.acquire(900, NUMBERS)).toBe(a);
    expect(pool.acquire(900, NUMBERS)).not.toBe(a);
  });

  test("keeps a buffer until its last owner has released it", () => {
    const { device } = fakeDevice();
    const pool = new BufferPool(device);
    const a = pool.acquire(10, NUMBERS);
    pool.retain(a);
    pool.release(a);
    expect(pool.state.inUse).toBe(256);
    expect(pool.acquire(10, NUMBERS)).not.toBe(a);
    pool.release(a);
    expect(pool.acquire(10, NUMBERS)).toBe(a);
  });

  test("leaves buffers alone that are not its own, or released once too often", () => {
    const { device, made } = fakeDevice();
    const pool = new BufferPool(device);
    const foreign = device.createBuffer({ size: 512, usage: NUMBERS });
    pool.retain(foreign);
    pool.release(foreign);
    const a = pool.acquire(10, NUMBERS);
    pool.release(a);
    pool.release(a);
    expect(pool.state).toEqual({ inUse: 0, pooled: 256, created: 1 });
    expect(made.map((buffer) => buffer.destroyed)).toEqual([false, false]);
  });

  test("destroys what has waited longest where its limit is exceeded", () => {
    const { device, made } = fakeDevice();
    const pool = new BufferPool(device, 2048);
    const [a, b, c] = [pool.acquire(1024, NUMBERS), pool.acquire(1024, NUMBERS), pool.acquire(512, READBACK)];
    for (const buffer of [a, b, c]) pool.release(buffer);
    expect(pool.state).toEqual({ inUse: 0, pooled: 1024 + 512, created: 3 });
    expect(made.map((buffer) => buffer.destroyed)).toEqual([true, false, false]);
    // What is used in between waits anew.
    pool.release(pool.acquire(1024, NUMBERS));
    pool.release(pool.acquire(1024, READBACK));
    expect(made.map((buffer) => buffer.destroyed)).toEqual([true, false, true, false]);
    expect(pool.acquire(1024, NUMBERS)).toBe(b);
  });

  test("destroys what is larger than its limit, and keeps the rest", () => {
    const { device, made } = fakeDevice();
    const pool = new BufferPool(device, 1024);
    const [a, b] = [pool.acquire(1024, NUMBERS), pool.acquire(2048, NUMBERS)];
    pool.release(a);
    pool.release(b);
    expect(made.map((buffer) => buffer.destroyed)).toEqual([false, true]);
  });

  test("keeps a buffer of the largest size beside small ones, and no stale one for ever", () => {
    const { device } = fakeDevice();
    const pool = new BufferPool(device, pooledBytes({ maxBufferSize: 2 ** 28 }));
    pool.release(pool.acquire(1000, NUMBERS));
    for (let i = 0; i < 10; i++) pool.release(pool.acquire(2 ** 28, NUMBERS));
    expect(pool.state.created).toBe(2);
    pool.release(pool.acquire(250 * 2 ** 20, READBACK));
    for (let i = 0; i < 100; i++) pool.release(pool.acquire(16 * 2 ** 20, NUMBERS));
    expect(pool.state.created).toBe(4);
  });

  test("keeps no more than a gibibyte, whatever the device allows", () => {
    expect(pooledBytes({ maxBufferSize: 2 ** 28 })).toBe(2 ** 29);
    expect(pooledBytes({ maxBufferSize: 2 ** 40 })).toBe(2 ** 30);
  });

  test("destroys what waits when it is trimmed", () => {
    const { device, made } = fakeDevice();
    const pool = new BufferPool(device);
    const kept = pool.acquire(10, NUMBERS);
    pool.release(pool.acquire(10, NUMBERS));
    pool.release(pool.acquire(10, READBACK));
    pool.trim();
    expect(pool.state).toEqual({ inUse: 256, pooled: 0, created: 3 });
    expect(made.map((buffer) => buffer.destroyed)).toEqual([false, true, true]);
    pool.release(kept);
    expect(pool.acquire(10, NUMBERS)).toBe(kept);
  });

  test("destroys everything when disposed of, buffers in use as well", () => {
    const { device, made } = fakeDevice();
    const pool = new BufferPool(device);
    pool.release(pool.acquire(10, NUMBERS));
    pool.acquire(10, READBACK);
    pool.dispose();
    expect(pool.state).toEqual({ inUse: 0, pooled: 0, created: 2 });
    expect(made.map((buffer) => buffer.destroyed)).toEqual([true, true]);
  });

  test("refuses more than the device allows before it asks the device", () => {
    const { device, made } = fakeDevice();
    expect(() => new BufferPool(device).acquire(2 ** 30 + 4, NUMBERS)).toThrow(
      new BackendError("a buffer of 1073741828 bytes is needed, but this GPU allows 1073741824"),
    );
    expect(made).toEqual([]);
  });

  test("never makes a class larger than the device allows", () => {
    const { device, made } = fakeDevice();
    new BufferPool(device).acquire(2 ** 30 - 4, NUMBERS);
    expect(made[0]?.size).toBe(2 ** 30);
  });

  test("gives a buffer that got no memory to nobody else, also where it was released before that was known", async () => {
    const { device, made } = fakeDevice((size) => size === 256);
    const pool = new BufferPool(device);
    const [released, held] = [pool.acquire(10, NUMBERS), pool.acquire(20, NUMBERS)];
    pool.release(released);
    expect(pool.state.pooled).toBe(256);
    await pool.check(held);
    pool.release(held);
    expect(pool.state).toEqual({ inUse: 0, pooled: 0, created: 2 });
    expect(made.map((buffer) => buffer.destroyed)).toEqual([true, true]);
  });

  test("knows of new buffers whether they got their memory", async () => {
    const { device, made } = fakeDevice((size) => size > CHECKED_BYTES);
    const pool = new BufferPool(device);
    const sound = pool.acquire(CHECKED_BYTES, NUMBERS);
    expect(await pool.check(sound)).toBe(true);
    expect(pool.check(sound), "what is known is not asked again").toBeUndefined();
    const starved = pool.acquire(CHECKED_BYTES * 2, NUMBERS);
    expect(await pool.check(starved)).toBe(false);
    expect(await pool.check(starved), "it stays known").toBe(false);
    pool.release(starved);
    expect(made.at(-1)?.destroyed, "it is not used again").toBe(true);
    expect(pool.acquire(CHECKED_BYTES * 2, NUMBERS)).not.toBe(starved);
  });
});
