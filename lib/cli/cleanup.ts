/**
 * Owns `kproxy-us cleanup`: takes away every rule and route that any process of ours left (rule R6).
 *
 *   every redirect mode that is built -> Redirector.cleanup -> exit code
 */
import type { Options } from '../config/options.js';
import { createRedirector } from '../redirect/create.js';
import { RedirectError } from '../redirect/redirector.js';
import { createLogger } from '../status/logger.js';
import type { ExitCode } from './exit-code.js';
import { REDIRECT_MODES } from './run-flags.js';

/** A mode that cannot be cleaned does not keep the others from it. */
export async function cleanup(options: Pick<Options, 'verbosity' | 'loggingFormat'>): Promise<ExitCode> {
  const log = createLogger({ format: options.loggingFormat, verbosity: options.verbosity });
  let code: ExitCode = 0;
  for (const mode of REDIRECT_MODES) {
    try {
      await createRedirector(mode, { log }).cleanup();
    } catch (err) {
      if (err instanceof RedirectError && err.code === 'UNSUPPORTED_MODE') continue;
      process.stderr.write(`error: ${mode}: ${err instanceof Error ? err.message : String(err)}\n`);
      code = 1;
    }
  }
  log.close();
  if (code === 0) process.stdout.write('nothing of kproxy-us is left in the kernel\n');
  return code;
}
