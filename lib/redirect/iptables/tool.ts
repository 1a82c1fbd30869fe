/**
 * Owns the programs of one family: iptables-save and iptables-restore, or ip6tables-save and ip6tables-restore.
 *
 *   save(table) -> iptables-save -t <table> -> SavedTable
 *   restore(text) -> iptables-restore --noflush -w 5 -> ok | again, while somebody else holds the lock | RedirectError
 */
import type { IpFamily } from '../../config/address.js';
import type { Log } from '../../config/log.js';
import { type CommandResult, type Exec, said } from '../command.js';
import { RedirectError } from '../redirector.js';
import type { Table } from './rule.js';
import { parseSaved, type Saved, type SavedTable } from './saved.js';

/** Legacy iptables waits this long for /run/xtables.lock (rule R7); the nf_tables one has no lock and ignores it. */
const LOCK_WAIT_S = 5;
/** RESOURCE_PROBLEM: the lock was not free in time, or the kernel had something else to do. */
const EXIT_TRY_AGAIN = 4;
const RETRY_PAUSES_MS = [50, 100, 200, 400, 800];

export class IptablesTool {
  readonly #exec: Exec;
  readonly #log: Log;
  readonly #program: 'iptables' | 'ip6tables';

  constructor(family: IpFamily, exec: Exec, log: Log) {
    this.#program = family === 'IPv4' ? 'iptables' : 'ip6tables';
    this.#exec = exec;
    this.#log = log;
  }

  /** Rejects with what is missing. */
  async probe(): Promise<void> {
    try {
      await this.#run(`${this.#program}-restore`, ['--version']);
      await this.save();
    } catch (error) {
      if (!(error instanceof RedirectError) || error.code !== 'MISSING_TOOL') throw error;
      const advice = 'install iptables, or use --redirect none, which serves node ports alone';
      throw new RedirectError('MISSING_TOOL', `${error.message}: ${advice}`, { cause: error });
    }
  }

  async save(): Promise<Saved> {
    return { nat: await this.#save('nat'), filter: await this.#save('filter') };
  }

  async #save(table: Table): Promise<SavedTable> {
    const { stdout } = await this.#run(`${this.#program}-save`, ['-t', table]);
    // Rules made by nft that iptables has no words for. It then prints none of the table, ours neither.
    if (/^# Table `\w+' is incompatible/m.test(stdout)) {
      throw new RedirectError(
        'COMMAND_FAILED',
        `${this.#program}-save cannot print table ${table}: it holds rules that only nft can read (nft list table ${
          this.#program === 'iptables' ? 'ip' : 'ip6'
        } ${table}); move them to a table of their own`,
      );
    }
    return parseSaved(table, stdout);
  }

  async restore(text: string): Promise<void> {
    await this.#run(`${this.#program}-restore`, ['--noflush', '-w', String(LOCK_WAIT_S)], text);
  }

  async #run(program: string, args: readonly string[], input = ''): Promise<CommandResult> {
    for (const pauseMs of [...RETRY_PAUSES_MS, undefined]) {
      const result = await this.#exec(program, args, { input });
      if (result.code === 0) return result;
      const failure = failureOf(program, args, result, input);
      if (result.code !== EXIT_TRY_AGAIN || failure.code !== 'COMMAND_FAILED' || pauseMs === undefined) throw failure;
      this.#log.debug('iptables is busy, trying again', { program, pauseMs, stderr: result.stderr });
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    throw new RedirectError('COMMAND_FAILED', `${program} was not run`);
  }
}

function failureOf(program: string, args: readonly string[], result: CommandResult, input: string): RedirectError {
  const { code, stderr } = result;
  if (/permission denied|operation not permitted|must be root/i.test(stderr)) {
    return new RedirectError(
      'MISSING_CAPABILITY',
      `${program} needs root with the capability CAP_NET_ADMIN (and CAP_NET_RAW for legacy iptables); ` +
        `with --redirect none the proxy runs without, and serves node ports alone${said(stderr)}`,
    );
  }
  const command = [program, ...args].join(' ');
  return new RedirectError(
    'COMMAND_FAILED',
    `${command} exited ${code ?? 'by a signal'}${said(stderr)}${culprit(stderr, input)}`,
  );
}

/** The line of the batch that the tool names, where it names one. */
function culprit(stderr: string, input: string): string {
  const number = Number(/line:? (\d+)/.exec(stderr)?.[1]);
  const line = Number.isInteger(number) ? input.split('\n')[number - 1] : undefined;
  return line === undefined || line === '' ? '' : ` (line ${number}: ${line})`;
}
