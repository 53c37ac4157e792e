/** `Symbol.dispose`. Safari and Node 20 lack it; libraries agree on this stand-in. */
export const disposeSymbol: typeof Symbol.dispose = ((Symbol as { dispose?: symbol }).dispose ?? Symbol.for("Symbol.dispose")) as typeof Symbol.dispose;
