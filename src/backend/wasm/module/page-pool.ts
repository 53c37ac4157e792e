import type { ModuleMemory } from "./memory.ts";

/** Pages of one size in module memory. Caches that share a page each hold it; it is freed when the last one lets go of it. */
export class PagePool {
  readonly memory: ModuleMemory;
  readonly pageBytes: number;
  readonly #holders = new Map<number, number>();

  constructor(memory: ModuleMemory, pageBytes: number) {
    this.memory = memory;
    this.pageBytes = pageBytes;
  }

  /** The addresses of `count` new pages. @throws BackendError if memory runs out; nothing has changed then */
  take(count: number): number[] {
    const pages: number[] = [];
    try {
      while (pages.length < count) pages.push(this.memory.allocate(this.pageBytes));
    } catch (error) {
      for (const page of pages) this.memory.free(page);
      throw error;
    }
    for (const page of pages) this.#holders.set(page, 1);
    return pages;
  }

  /** Whether more than one cache holds a page, so that it must not be written. */
  isShared(page: number): boolean {
    return (this.#holders.get(page) ?? 0) > 1;
  }

  /** Lets one more cache hold a page. */
  hold(page: number): void {
    this.#holders.set(page, (this.#holders.get(page) ?? 0) + 1);
  }

  /** Lets go of a page. */
  release(page: number): void {
    const holders = (this.#holders.get(page) ?? 0) - 1;
    if (holders > 0) this.#holders.set(page, holders);
    else {
      this.#holders.delete(page);
      this.memory.retire(page);
    }
  }

  /** Copies a page's numbers to another. */
  copy(from: number, to: number): void {
    this.memory.viewOf(1).copyWithin(to, from, from + this.pageBytes);
  }
}
