/** Owns the report of a test run: mocha's own, then what was skipped and why, then one line that a program can read. */
import Mocha from 'mocha';
import { skipped } from './requires.js';

export default class Reporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      const lines = skipped.map(({ title, reason }) => `  skipped: ${title} (${reason})`);
      process.stdout.write(`${[...lines, `${passes} passed, ${failures} failed, ${pending} skipped`].join('\n')}\n`);
    });
  }
}
