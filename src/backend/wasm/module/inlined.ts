// Bytes as a JavaScript string that compresses well. Hexadecimal and base64 hide from gzip which bytes are frequent; here the 89 most
// frequent ones are a character each and the others two, all printable ASCII without quote and backslash. Both binaries together
// travel in 13.5 KB, where hexadecimal takes 15 KB and base64 20 KB.

/** Characters in use: from "#" to "~" without the backslash. */
const SYMBOLS = 91;
/** Bytes that are one character; the characters behind them are the first of two. */
export const SINGLES = 89;

/** The character of a symbol. */
export function characterOf(symbol: number): string {
  return String.fromCharCode(symbol + (symbol < 57 ? 35 : 36));
}

/** The text of bytes under a table that lists all 256 byte values, most frequent first. */
export function encode(bytes: Uint8Array, table: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const rank = table.indexOf(byte);
    const rest = rank - SINGLES;
    text += rank < SINGLES ? characterOf(rank) : characterOf(SINGLES + Math.floor(rest / SYMBOLS)) + characterOf(rest % SYMBOLS);
  }
  return text;
}

/** The bytes of a text; `table` in hexadecimal. */
export function decode(text: string, table: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  const symbolAt = (i: number): number => text.charCodeAt(i) - (text.charCodeAt(i) < 92 ? 35 : 36);
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    let rank = symbolAt(i);
    if (rank >= SINGLES) rank = SINGLES + (rank - SINGLES) * SYMBOLS + symbolAt(++i);
    bytes[count++] = parseInt(table.substring(2 * rank, 2 * rank + 2), 16);
  }
  return bytes.slice(0, count);
}
