/** Named checks. All of them run, even after a failure, and there is a verdict at the end. */
export class Checks {
  #passed = 0;
  readonly #failed: string[] = [];
  readonly #skipped: string[] = [];

  /** Runs one check. It passes if `run` returns; a text that `run` returns is printed beside its name. */
  async run(name: string, run: () => unknown): Promise<void> {
    try {
      const note = await run();
      this.#passed++;
      console.log(`  ok    ${name}${typeof note !== "string" ? "" : `: ${note}`}`);
    } catch (error) {
      this.#failed.push(name);
      console.error(`  FAIL  ${name}\n${indent(error instanceof Error ? error.message : String(error))}`);
    }
  }

  skip(name: string, reason: string): void {
    this.#skipped.push(name);
    console.log(`  skip  ${name}: ${reason}`);
  }

  /** Prints the counts and sets the exit status. */
  finish(what: string): void {
    const skipped = this.#skipped.length > 0 ? `, ${this.#skipped.length} skipped` : "";
    console.log(`${what}: ${this.#passed} passed, ${this.#failed.length} failed${skipped}`);
    if (this.#failed.length > 0 || this.#passed === 0) process.exitCode = 1;
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, "        ");
}
