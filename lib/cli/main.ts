/** Owns the command line. */
export async function main(_argv: readonly string[]): Promise<number> {
  return 2;
}
