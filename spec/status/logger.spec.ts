import { expect } from 'chai';
import { createLogger } from '../../lib/status/logger.js';

/** A logger that writes to `lines`, with a clock that a spec moves. */
function fakeLogger(format: 'text' | 'json' = 'text', verbosity = 0) {
  const lines: string[] = [];
  const time = { ms: 0 };
  const log = createLogger({
    format,
    verbosity,
    destination: { write: (line) => lines.push(line) },
    clock: { nowMs: () => time.ms },
    nowEpochMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678) + time.ms,
    floodWindowMs: 30_000,
  });
  return { log, lines, time };
}

describe('the log', () => {
  it('writes one line a fact as text (H6)', () => {
    const { log, lines } = fakeLogger();
    log.info('listening', {
      service: 'default/web',
      port: 30_080,
      backends: ['10.0.0.1:80'],
      why: 'as asked',
      none: undefined,
    });
    expect(lines).to.deep.equal([
      '2026-01-02T03:04:05.678Z info listening service=default/web port=30080 backends=["10.0.0.1:80"] why="as asked"\n',
    ]);
  });

  it('writes one line a fact as JSON (H6)', () => {
    const { log, lines } = fakeLogger('json');
    log.warn('listening', { service: 'default/web', port: 30_080 });
    expect(lines).to.have.length(1);
    expect(lines[0]).to.match(/\n$/);
    expect(JSON.parse(lines[0] ?? '')).to.deep.equal({
      level: 'warn',
      time: '2026-01-02T03:04:05.678Z',
      message: 'listening',
      service: 'default/web',
      port: 30_080,
    });
  });

  it('lets no value begin a line, move the cursor or reverse the text', () => {
    const { log, lines } = fakeLogger();
    log.info('failed', { name: 'x\n2026-01-02T03:04:05.678Z info all is well', more: '\u001b[2J\u009b1m\u2028\u202e' });
    expect(lines).to.have.length(1);
    expect(lines[0]?.slice(0, -1)).to.match(/^[\x20-\x7e]*$/);
    expect(lines[0]).to.contain('name="x\\n2026');
    expect(lines[0]).to.contain('\\u001b[2J\\u009b1m\\u2028\\u202e');
  });

  it('lets no field stand in for the level, time or message of a JSON line', () => {
    const { log, lines } = fakeLogger('json');
    log.error('failed', { level: 'info', time: 'never', message: 'all is well' });
    expect(lines[0]?.match(/"(level|time|message)":/g)).to.have.length(3);
    expect(JSON.parse(lines[0] ?? '')).to.include({ level: 'error', message: 'failed', detail: 'all is well' });
  });

  it('says what a fault says of itself as the detail of its line, in both formats', () => {
    for (const format of ['text', 'json'] as const) {
      const { log, lines } = fakeLogger(format);
      log.warn('cannot listen, will try again', { code: 'EADDRINUSE', message: 'cannot listen on 0.0.0.0:80/TCP' });
      const shown = format === 'text' ? 'detail="cannot' : '"detail":"cannot';
      expect(lines[0]).to.contain(shown);
      expect(lines[0]).to.not.match(/fieldMessage| message=/);
    }
  });

  it('says of an error its name, code, message and causes', () => {
    const cause = Object.assign(new Error('bind'), { code: 'EADDRINUSE' });
    const { log, lines } = fakeLogger();
    log.error('failed', { err: new TypeError('no "listener"', { cause }) });
    expect(lines[0]).to.contain('err="TypeError: no \\"listener\\" <- Error EADDRINUSE: bind"');
    const json = fakeLogger('json');
    json.log.error('failed', { err: new TypeError('no listener', { cause }) });
    expect(JSON.parse(json.lines[0] ?? '').err).to.deep.equal([
      { name: 'TypeError', message: 'no listener' },
      { name: 'Error', code: 'EADDRINUSE', message: 'bind' },
    ]);
  });

  it('ends a chain of causes that leads back to itself', () => {
    const error = new Error('again');
    error.cause = error;
    const { log, lines } = fakeLogger();
    log.error('failed', { err: error });
    expect(lines[0]?.match(/again/g)).to.have.length(5);
  });

  it('writes debug lines from verbosity 4 on', () => {
    const quiet = fakeLogger('text', 3);
    quiet.log.debug('detail');
    expect(quiet.lines).to.have.length(0);
    const loud = fakeLogger('text', 4);
    loud.log.debug('detail');
    expect(loud.lines[0]).to.contain(' debug detail\n');
  });
});

describe('a flood of log lines', () => {
  it('becomes one line, and one with the count when its window is over (H6)', () => {
    const { log, lines, time } = fakeLogger();
    for (let n = 0; n < 1_000; n++) log.warn('dial failed', { key: 'default/web', n });
    expect(lines).to.have.length(1);
    time.ms = 30_000;
    log.warn('something else');
    expect(lines).to.have.length(3);
    expect(lines[1]).to.match(/warn dial failed n=999 repeated=999\n$/);
  });

  it('tells apart what concerns another key, Service or level (H6)', () => {
    const { log, lines } = fakeLogger();
    log.warn('dial failed', { key: 'a' });
    log.warn('dial failed', { key: 'b' });
    log.warn('dial failed', { service: 'default/web' });
    log.warn('dial failed', { servicePort: 'default/web/TCP' });
    log.error('dial failed', { key: 'a' });
    expect(lines).to.have.length(5);
  });

  it('is counted again in the next window, and forgotten after a quiet one (H6)', () => {
    const { log, lines, time } = fakeLogger();
    const flood = () => log.warn('dial failed', { key: 'a' });
    flood();
    flood();
    time.ms = 30_000;
    flood(); // Written: the count of the first window. Held back: this one.
    expect(lines).to.have.length(2);
    time.ms = 60_000;
    log.warn('tick'); // Written: the count of the second window, and the tick.
    expect(lines[2]).to.contain('repeated=1');
    time.ms = 90_000;
    log.warn('tock');
    flood();
    expect(lines.at(-1)).to.contain('dial failed\n');
  });

  it('loses no count at the end (H6)', () => {
    const { log, lines } = fakeLogger();
    log.error('dial failed', { key: 'a' });
    log.error('dial failed', { key: 'a' });
    log.close();
    expect(lines).to.have.length(2);
    expect(lines[1]).to.contain('repeated=1');
    log.close();
    expect(lines).to.have.length(2);
  });

  it('remembers a bounded number of kinds, whatever the keys', () => {
    const { log, lines } = fakeLogger();
    for (let n = 0; n < 3_000; n++) {
      log.warn('dial failed', { key: `k${n}` });
      log.warn('dial failed', { key: `k${n}` });
    }
    const counted = lines.filter((line) => line.includes('repeated=1')).length;
    expect(lines.length - counted).to.equal(3_000);
    expect(counted).to.be.at.least(3_000 - 1_025);
  });

  it('never holds back info lines: each is a fact of its own', () => {
    const { log, lines } = fakeLogger();
    for (let n = 0; n < 10; n++) log.info('listening', { key: 'a' });
    expect(lines).to.have.length(10);
  });
});
