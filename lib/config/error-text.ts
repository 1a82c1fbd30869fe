/** Owns what is said of an error: its name, code and message, and those of what caused it. */

/** What is said of one error in a chain of causes. */
export interface ErrorSummary {
  readonly name: string;
  /** errno name or a code of our own. */
  readonly code: string | undefined;
  readonly message: string;
}

/** A chain of causes is followed this far: one may lead back to itself. */
const MAX_CAUSES = 5;

/** The error, then what caused it, and so on. */
export function errorChain(error: unknown): readonly ErrorSummary[] {
  const chain: ErrorSummary[] = [];
  let next = error;
  while (next instanceof Error && chain.length < MAX_CAUSES) {
    const code = 'code' in next && next.code !== undefined ? String(next.code) : undefined;
    chain.push({ name: next.name, code, message: next.message });
    next = next.cause;
  }
  return chain;
}

/** `SyncError: sync failed <- RedirectError COMMAND_FAILED: iptables-restore ended with 1`. */
export function errorText(error: unknown): string {
  const links = errorChain(error).map(({ name, code, message }) => {
    // Node's own errors begin their message with the code.
    const shown = code === undefined || message.startsWith(code) ? name : `${name} ${code}`;
    return `${shown}: ${message}`;
  });
  return links.length === 0 ? String(error) : links.join(' <- ');
}
