/** Lets calls submit in the order they were made, also where one has to wait for a compiler and the next has not. */
export class CallOrder {
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Whether a call has not submitted yet. While none has, the next may go at once. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /** Takes the next place. `turn` resolves when all earlier calls have left, submitted or not. */
  enter(): { readonly turn: Promise<unknown>; leave(): void } {
    const turn = this.#last;
    let resolve: () => void = () => undefined;
    const left = new Promise<void>((done) => (resolve = done));
    this.#last = turn.then(() => left);
    this.#waiting++;
    return {
      turn,
      leave: () => {
        this.#waiting--;
        resolve();
      },
    };
  }
}
