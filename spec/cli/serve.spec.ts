import { EventEmitter } from 'node:events';
import { expect } from 'chai';
import { type Served, serve, warnOfNodePorts } from '../../lib/cli/run.js';
import { defaultOptions } from '../../lib/cli/run-options.js';
import { silentLog } from '../../lib/config/log.js';
import { RedirectError } from '../../lib/redirect/redirector.js';
import { SourceError } from '../../lib/source/source-error.js';
import { AccessLogError } from '../../lib/status/access-log.js';
import { createLogger } from '../../lib/status/logger.js';
import { until, within } from '../support/until.js';

/** A daemon that notes what is asked of it, and does each thing when the spec lets it. */
class FakeDaemon implements Served {
  readonly calls: string[] = [];
  startError: Error | undefined;
  reloadError: Error | undefined;
  /** Set: `stop` or `reload` waits for it. */
  stopping: Promise<void> = Promise.resolve();
  reloading: Promise<void> = Promise.resolve();

  async start(): Promise<void> {
    this.calls.push('start');
    if (this.startError !== undefined) throw this.startError;
  }

  async stop(): Promise<void> {
    this.calls.push('stop');
    await this.stopping;
  }

  async reload(): Promise<void> {
    this.calls.push('reload');
    await this.reloading;
    if (this.reloadError !== undefined) throw this.reloadError;
  }
}

function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe('the process around the daemon', () => {
  let daemon: FakeDaemon;
  let signals: EventEmitter;
  let ended: string[];

  beforeEach(() => {
    daemon = new FakeDaemon();
    signals = new EventEmitter();
    ended = [];
  });

  const run = (log = silentLog) => serve(daemon, log, signals, (signal) => ended.push(signal));
  const send = (signal: string) => signals.emit(signal, signal);

  for (const signal of ['SIGTERM', 'SIGINT']) {
    it(`drains and ends with 0 at ${signal} (Y6)`, async () => {
      const code = run();
      send(signal);
      expect(await within('the end', code)).to.equal(0);
      expect(daemon.calls).to.deep.equal(['start', 'stop']);
      expect(ended).to.deep.equal([]);
      expect(signals.eventNames()).to.deep.equal([]);
    });
  }

  it('writes what a flood held back before it says that it has stopped (H6)', async () => {
    const lines: string[] = [];
    const log = createLogger({ format: 'text', verbosity: 0, destination: { write: (line) => lines.push(line) } });
    const code = run(log);
    log.warn('dial failed');
    log.warn('dial failed');
    send('SIGTERM');
    expect(await code).to.equal(0);
    expect(lines.at(-2)).to.match(/ warn dial failed repeated=1\n$/);
    expect(lines.at(-1)).to.match(/ info stopped\n$/);
  });

  for (const [first, last, redirect, warnings] of [
    [20_000, 29_999, 'iptables', 0],
    [29_000, 30_000, 'iptables', 1],
    [32_767, 32_999, 'iptables', 1],
    [32_768, 32_999, 'iptables', 0],
    [29_000, 30_000, 'none', 0],
  ] as const) {
    it(`says ${warnings} times that redirect ports ${first}-${last} meet node ports (--redirect ${redirect})`, () => {
      const lines: string[] = [];
      const defaults = defaultOptions({ nodeName: undefined, hostname: 'host' });
      const options = { ...defaults, redirect, proxyPortRange: { first, last } };
      warnOfNodePorts(options, { ...silentLog, warn: (message) => void lines.push(message) });
      expect(lines).to.have.length(warnings);
    });
  }

  it('ends at once at a second signal (Y6)', async () => {
    const drained = gate();
    daemon.stopping = drained.opened;
    const code = run();
    send('SIGTERM');
    await until('stop', () => daemon.calls.includes('stop'));
    expect(ended).to.deep.equal([]);
    send('SIGINT');
    expect(ended).to.deep.equal(['SIGINT']);
    drained.open();
    await code;
  });

  it('reads the files again at SIGHUP and goes on (Y6)', async () => {
    const code = run();
    send('SIGHUP');
    await until('reload', () => daemon.calls.includes('reload'));
    send('SIGTERM');
    expect(await code).to.equal(0);
    expect(daemon.calls).to.deep.equal(['start', 'reload', 'stop']);
  });

  it('reads the files once more, and not more often, for signals that come meanwhile (Y6)', async () => {
    const read = gate();
    daemon.reloading = read.opened;
    const code = run();
    for (let n = 0; n < 5; n++) send('SIGHUP');
    expect(daemon.calls.filter((call) => call === 'reload')).to.have.length(1);
    read.open();
    await until('the second reload', () => daemon.calls.filter((call) => call === 'reload').length === 2);
    send('SIGTERM');
    await code;
    expect(daemon.calls.filter((call) => call === 'reload')).to.have.length(2);
  });

  it('survives files that cannot be read again (C2)', async () => {
    const errors: string[] = [];
    daemon.reloadError = new Error('gone');
    const code = run({ ...silentLog, error: (message) => void errors.push(message) });
    send('SIGHUP');
    await until('the log line', () => errors.length > 0);
    send('SIGTERM');
    expect(await code).to.equal(0);
  });

  it('takes down what did start, says why, and ends with 1 where the daemon cannot start', async () => {
    const errors: unknown[] = [];
    daemon.startError = new Error('no iptables');
    const code = await run({ ...silentLog, error: (_message, fields) => void errors.push(fields?.['err']) });
    expect(code).to.equal(1);
    expect(daemon.calls).to.deep.equal(['start', 'stop']);
    expect(errors).to.deep.equal([daemon.startError]);
  });

  for (const error of [
    new AccessLogError('/x/y', Object.assign(new Error('open'), { code: 'ENOENT' })),
    new SourceError('NOT_FOUND', 'no such file: /x'),
    new RedirectError('UNSUPPORTED_MODE', 'not built yet'),
  ]) {
    it(`ends with 2 where what was asked for is not there: ${error.code} (C1)`, async () => {
      daemon.startError = error;
      expect(await run()).to.equal(2);
    });
  }
});
