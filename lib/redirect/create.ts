/** Owns the choice of a redirector by its name on the command line. */
import type { Log } from '../config/log.js';
import type { RedirectMode } from '../config/options.js';
import { type Exec, runCommand } from './command.js';
import { IptablesRedirector } from './iptables/iptables.js';
import { NoRedirector } from './none.js';
import { RedirectError, type Redirector } from './redirector.js';

export interface RedirectorDeps {
  readonly log: Log;
  /** As by `setInsideCidrs`; none where it is absent. */
  readonly insideCidrs?: readonly string[];
  /** Runs the tools; in specs, inside a namespace. */
  readonly exec?: Exec;
}

/** Throws `RedirectError` for a mode that is not built yet. */
export function createRedirector(mode: RedirectMode, deps: RedirectorDeps): Redirector {
  switch (mode) {
    case 'iptables':
      return new IptablesRedirector({ ...deps, exec: deps.exec ?? runCommand });
    case 'none':
      return new NoRedirector();
    case 'nftables':
    case 'route':
      throw new RedirectError('UNSUPPORTED_MODE', `--redirect ${mode} is not built yet: use iptables or none`);
  }
}
