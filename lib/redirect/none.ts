/** Owns `--redirect none`: node ports alone are served, and no rule is written. */
import type { Redirector } from './redirector.js';

export class NoRedirector implements Redirector {
  readonly mode = 'none';
  readonly serves = () => false;

  async start(): Promise<void> {}

  async existing(): Promise<readonly []> {
    return [];
  }

  async apply(): Promise<void> {}

  async setInsideCidrs(): Promise<void> {}

  async repair(): Promise<undefined> {}

  async cleanup(): Promise<void> {}
}
