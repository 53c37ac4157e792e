import { describe, expect, test } from "vitest";
import { runModule } from "../support/child.ts";

// In a process of its own: what has to end by itself, and what must not.

const CPU = new URL("../../src/backend/wasm/drivers/create-cpu.ts", import.meta.url).href;
const PARSE = new URL("../../src/ops/attention.ts", import.meta.url).href;
const PRELUDE = `
  import { createCpu } from ${JSON.stringify(CPU)};
  import { parseAttention } from ${JSON.stringify(PARSE)};
  const x = { data: new Float32Array(8 * 512 * 64).fill(0.5), shape: [1, 8, 512, 64] };
`;

describe("a process with threads", () => {
  test.each([
    ["without dispose", ""],
    ["with dispose", "cpu.dispose();"],
  ])("ends by itself, %s", { timeout: 60_000 }, async (_, end) => {
    const code = `${PRELUDE}
      const cpu = await createCpu({ threads: 3 });
      const { threads } = cpu;
      const { data } = await cpu.run(parseAttention(x, x, x));
      ${end}
      console.log(threads, data[0]);
    `;
    expect(await runModule(code)).toBe("3 0.5");
  });

  test("does not end while a call runs that nobody waits for", { timeout: 60_000 }, async () => {
    // Nothing but the call keeps this process alive; and without waiting, only messages tell that it has ended.
    const code = `${PRELUDE}
      Atomics.wait = () => { throw new TypeError("not here"); };
      const cpu = await createCpu({ threads: 2 });
      void cpu.run(parseAttention(x, x, x)).then(({ data }) => console.log(data[0]));
    `;
    expect(await runModule(code)).toBe("0.5");
  });

  test("ends while its workers start", { timeout: 60_000 }, async () => {
    expect(await runModule(`${PRELUDE} void createCpu({ threads: 2 }).then((cpu) => { cpu.dispose(); console.log("disposed"); });`)).toBe("disposed");
  });
});
