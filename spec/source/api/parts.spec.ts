import { expect } from 'chai';
import fc from 'fast-check';
import { asApiError, statusError } from '../../../lib/source/api/api-error.js';
import { Backoff } from '../../../lib/source/api/backoff.js';
import { Lines } from '../../../lib/source/api/lines.js';
import { ListItems } from '../../../lib/source/api/list-items.js';
import { TokenBucket } from '../../../lib/source/api/token-bucket.js';
import { runsBackwards } from '../../../lib/source/api/watch-events.js';
import { ManualTimers } from './support.js';

/** Cuts a buffer at these places, taken as parts of its length. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const at = [...new Set(places.map((part) => Math.floor(part * bytes.length)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

describe('the waits between requests (Y4)', () => {
  it('grow from 0.8 s to 30 s and never beyond, and begin anew after a good spell', () => {
    for (const random of [0, 0.5, 0.999]) {
      const backoff = new Backoff(() => random);
      const waits = Array.from({ length: 12 }, () => backoff.next());
      expect(waits[0]).to.be.within(800, 1_600);
      expect(waits.every((wait, index) => index === 0 || wait >= (waits[index - 1] ?? 0))).to.equal(true);
      expect(waits.at(-1)).to.be.within(15_000, 30_000);
      backoff.reset();
      expect(backoff.next()).to.be.within(800, 1_600);
    }
  });

  it('are none before a first relist, and like any other before the next', () => {
    const backoff = new Backoff(() => 0);
    expect([backoff.nextAfterExpiry(), backoff.nextAfterExpiry(), backoff.nextAfterExpiry()]).to.deep.equal([
      0, 1_600, 3_200,
    ]);
  });

  it('let a burst through at once, then so many a second, in order (--kube-api-qps, --kube-api-burst)', async () => {
    const timers = new ManualTimers();
    const bucket = new TokenBucket({ qps: 5, burst: 3, timers });
    const { signal } = new AbortController();
    const done: number[] = [];
    const all = Array.from({ length: 6 }, (_, index) => bucket.take(signal).then(() => done.push(index)));
    await Promise.all(all.slice(0, 3));
    expect(done).to.deep.equal([0, 1, 2]);
    expect(timers.pending).to.deep.equal([200, 400, 600]);
    timers.advance(400);
    await Promise.all(all.slice(0, 5));
    expect(done).to.deep.equal([0, 1, 2, 3, 4]);
    timers.advance(200);
    await Promise.all(all);
    timers.advance(10_000);
    await Promise.all([bucket.take(signal), bucket.take(signal), bucket.take(signal)]);
  });

  it('are none for a rate below 0, and end with the signal', async () => {
    const timers = new ManualTimers();
    const free = new TokenBucket({ qps: -1, burst: 0, timers });
    for (let taken = 0; taken < 1_000; taken++) await free.take(new AbortController().signal);
    const bucket = new TokenBucket({ qps: 1, burst: 1, timers });
    const abort = new AbortController();
    await bucket.take(abort.signal);
    const waiting = bucket.take(abort.signal);
    abort.abort();
    await waiting;
  });
});

describe('taking a list apart', () => {
  const json = fc.jsonValue({ maxDepth: 3 });
  const item = fc.dictionary(fc.string(), json);

  function read(bytes: readonly Buffer[]): { readonly items: unknown[]; readonly rest: unknown } {
    const items: unknown[] = [];
    const list = new ListItems((one) => items.push(one));
    for (const chunk of bytes) list.feed(chunk);
    return { items, rest: list.end() };
  }

  it('finds what JSON.parse finds, wherever the chunks end', () => {
    const before = fc.dictionary(
      fc.string().filter((key) => key !== 'items' && key !== '__proto__'),
      json,
    );
    fc.assert(
      fc.property(
        before,
        fc.array(item),
        before,
        places,
        fc.constantFrom(0, 1, 2),
        (first, items, last, cuts, indent) => {
          const text = JSON.stringify({ ...first, items, ...last }, undefined, indent);
          const whole = JSON.parse(text) as { items: unknown[] };
          const { items: found, rest } = read(cut(Buffer.from(text), cuts));
          expect(found).to.deep.equal(whole.items);
          expect(rest).to.deep.equal({ ...whole, items: [] });
        },
      ),
    );
  });

  it('takes null for no items, and only the items of the list itself', () => {
    expect(read([Buffer.from('{"items":null,"metadata":{"items":[{"a":1}]}}')])).to.deep.equal({
      items: [],
      rest: { items: null, metadata: { items: [{ a: 1 }] } },
    });
  });

  for (const text of [
    '{"items":[{"a":1}',
    '{"items":[1]}',
    '{"items":["x"]}',
    '{"items":[[]]}',
    'x',
    '',
    '{"items":[{]}',
    '}',
  ]) {
    it(`refuses ${text === '' ? 'nothing' : text}`, () => {
      expect(() => read([Buffer.from(text)]))
        .to.throw()
        .with.property('code', 'BAD_ANSWER');
    });
  }

  it('gives up what is no list before it fills the memory', () => {
    const list = new ListItems(() => undefined);
    const chunk = Buffer.alloc(1 << 16, 'x');
    expect(() => {
      list.feed(Buffer.from('{"metadata":"'));
      for (let fed = 0; fed < 100; fed++) list.feed(chunk);
    }).to.throw('the answer is no list');
  });
});

describe('cutting a watch into lines', () => {
  it('finds the lines that are ended, wherever the chunks end', () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 }).map((text) => JSON.stringify(text));
    fc.assert(
      fc.property(fc.array(line), fc.string(), places, (all, begun, cuts) => {
        const lines = new Lines(1_000);
        const bytes = Buffer.from(all.map((one) => `${one}\n`).join('') + begun.replaceAll('\n', ''));
        expect(cut(bytes, cuts).flatMap((chunk) => [...lines.feed(chunk)])).to.deep.equal(all);
      }),
    );
  });

  it('refuses a line over the bound, after those before it', () => {
    const lines = new Lines(10);
    const found: string[] = [];
    expect(() => {
      for (const one of lines.feed(Buffer.from(`"good"\n"${'x'.repeat(20)}"\n`))) found.push(one);
    }).to.throw('too long');
    expect(found).to.deep.equal(['"good"']);
  });
});

describe('errors of the API server', () => {
  it('tell what a Status object tells', () => {
    const causes = [{ reason: 'ResourceVersionTooLarge' }];
    const error = statusError({
      code: 504,
      reason: 'Timeout',
      message: 'm',
      details: { causes, retryAfterSeconds: 2 },
    });
    expect(error).to.include({
      status: 504,
      reason: 'Timeout',
      isVersionTooLarge: true,
      retryAfterMs: 2_000,
      isExpired: false,
    });
    expect(statusError({ code: 410, reason: 'Gone' }).isExpired).to.equal(true);
    expect(statusError({ code: 500, reason: 'Expired' }).isExpired).to.equal(true);
  });

  it('take Retry-After as seconds or as a date, and not for ever', () => {
    expect(statusError({}, 429, '7').retryAfterMs).to.equal(7_000);
    expect(statusError({}, 429, '86400').retryAfterMs).to.equal(120_000);
    expect(statusError({}, 429, new Date(Date.now() + 30_000).toUTCString()).retryAfterMs).to.be.within(25_000, 30_000);
    for (const bad of ['-3', 'soon', '']) expect(statusError({}, 429, bad).retryAfterMs, bad).to.equal(undefined);
  });

  it('can come from anything', () => {
    fc.assert(
      fc.property(fc.anything(), fc.option(fc.string(), { nil: undefined }), (json, retryAfter) => {
        expect(statusError(json, undefined, retryAfter).code).to.equal('STATUS');
        expect(asApiError(json).code).to.be.a('string');
      }),
    );
  });
});

describe('resource versions', () => {
  it('run backwards only where both are numbers and the second is less', () => {
    expect(runsBackwards('10', '9')).to.equal(true);
    expect(runsBackwards('9007199254740993', '9007199254740992')).to.equal(true);
    for (const [last, next] of [
      ['9', '10'],
      ['10', '10'],
      ['', '5'],
      ['a', '5'],
      ['5', 'b'],
    ] as const) {
      expect(runsBackwards(last, next), `${last} ${next}`).to.equal(false);
    }
  });
});
