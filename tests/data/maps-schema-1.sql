BEGIN TRANSACTION;
CREATE TABLE bodies (body_id TEXT PRIMARY KEY, make TEXT, model TEXT, width INTEGER NOT NULL,
        height INTEGER NOT NULL);
INSERT INTO "bodies" VALUES('Nikon Z 8 #1','Nikon','Z 8',960,640);
INSERT INTO "bodies" VALUES('Canon EOS R6 (no serial)','Nikon','Z 8',960,640);
CREATE TABLE epochs (id INTEGER PRIMARY KEY, body_id TEXT NOT NULL REFERENCES bodies ON DELETE CASCADE,
        started_at TEXT);
INSERT INTO "epochs" VALUES(1,'Nikon Z 8 #1',NULL);
INSERT INTO "epochs" VALUES(2,'Nikon Z 8 #1','2026-11-10T09:00:00');
INSERT INTO "epochs" VALUES(3,'Canon EOS R6 (no serial)',NULL);
CREATE TABLE frames (body_id TEXT NOT NULL REFERENCES bodies ON DELETE CASCADE, frame_id TEXT NOT NULL,
        epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, name TEXT NOT NULL, taken_at TEXT, f_number REAL,
        PRIMARY KEY (body_id, frame_id)) WITHOUT ROWID;
INSERT INTO "frames" VALUES('Canon EOS R6 (no serial)','00000000000000000000000000000014',3,'DSC_0020.NEF','2026-11-21T10:00:00+01:00',2.8);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','00000000000000000000000000000000',1,'DSC_0000.NEF','2026-11-01T10:00:00+01:00',16.0);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','00000000000000000000000000000001',1,'DSC_0001.NEF','2026-11-02T10:00:00+01:00',16.0);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','00000000000000000000000000000002',1,'DSC_0002.NEF','2026-11-03T10:00:00+01:00',16.0);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','0000000000000000000000000000000e',2,'DSC_0014.NEF','2026-11-15T10:00:00+01:00',16.0);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','0000000000000000000000000000000f',2,'DSC_0015.NEF','2026-11-16T10:00:00+01:00',16.0);
INSERT INTO "frames" VALUES('Nikon Z 8 #1','00000000000000000000000000000010',2,'DSC_0016.NEF',NULL,16.0);
CREATE TABLE observations (epoch INTEGER NOT NULL, particle_id TEXT NOT NULL, n INTEGER NOT NULL,
        frame_id TEXT NOT NULL, taken_at TEXT, seen INTEGER NOT NULL, log_odds REAL NOT NULL,
        PRIMARY KEY (epoch, particle_id, n),
        FOREIGN KEY (epoch, particle_id) REFERENCES particles (epoch, id) ON DELETE CASCADE) WITHOUT ROWID;
INSERT INTO "observations" VALUES(1,'p881dd1d9fd0f',1,'00000000000000000000000000000000','2026-11-01T10:00:00+01:00',1,1.3);
INSERT INTO "observations" VALUES(1,'p881dd1d9fd0f',2,'00000000000000000000000000000001','2026-11-02T10:00:00+01:00',1,5.0);
INSERT INTO "observations" VALUES(1,'p881dd1d9fd0f',3,'00000000000000000000000000000002','2026-11-03T10:00:00+01:00',1,5.0);
INSERT INTO "observations" VALUES(1,'ped093ea07561',1,'00000000000000000000000000000000','2026-11-01T10:00:00+01:00',1,1.3);
INSERT INTO "observations" VALUES(2,'pad74ef015f04',1,'00000000000000000000000000000010',NULL,1,1.3);
INSERT INTO "observations" VALUES(2,'paeeb604abb89',1,'0000000000000000000000000000000f','2026-11-16T10:00:00+01:00',1,1.3);
INSERT INTO "observations" VALUES(2,'paeeb604abb89',2,'00000000000000000000000000000010',NULL,1,5.0);
CREATE TABLE particles (epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, id TEXT NOT NULL,
        data TEXT NOT NULL, PRIMARY KEY (epoch, id));
INSERT INTO "particles" VALUES(1,'p881dd1d9fd0f','{"id": "p881dd1d9fd0f", "mx": 1.5, "my": 0.5, "strength_px2": 123.15043202071989, "blur_constant": 448.0, "opacity": 1.0, "log_odds": 5.0, "confirmed": true, "ever_confirmed": true, "first_seen": "2026-11-01T10:00:00+01:00", "last_seen": "2026-11-03T10:00:00+01:00", "frames_seen": 3, "frames_eligible": 3, "independent_frames": 3, "f_numbers": [16.0], "sightings": [{"scene": "00000000000000000000000000000000", "mx": 0.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}, {"scene": "00000000000000000000000000000001", "mx": 1.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}, {"scene": "00000000000000000000000000000002", "mx": 2.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}], "missed_in": []}');
INSERT INTO "particles" VALUES(1,'ped093ea07561','{"id": "ped093ea07561", "mx": 40.5, "my": 0.5, "strength_px2": 123.15043202071989, "blur_constant": 448.0, "opacity": 1.0, "log_odds": 1.3, "confirmed": false, "ever_confirmed": false, "first_seen": "2026-11-01T10:00:00+01:00", "last_seen": "2026-11-01T10:00:00+01:00", "frames_seen": 1, "frames_eligible": 1, "independent_frames": 1, "f_numbers": [16.0], "sightings": [{"scene": "00000000000000000000000000000000", "mx": 40.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}], "missed_in": []}');
INSERT INTO "particles" VALUES(2,'paeeb604abb89','{"id": "paeeb604abb89", "mx": 1.0, "my": 0.5, "strength_px2": 123.15043202071989, "blur_constant": 448.0, "opacity": 1.0, "log_odds": 5.0, "confirmed": true, "ever_confirmed": true, "first_seen": "2026-11-16T10:00:00+01:00", "last_seen": "2026-11-16T10:00:00+01:00", "frames_seen": 2, "frames_eligible": 2, "independent_frames": 2, "f_numbers": [16.0], "sightings": [{"scene": "0000000000000000000000000000000f", "mx": 0.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}, {"scene": "00000000000000000000000000000010", "mx": 1.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}], "missed_in": []}');
INSERT INTO "particles" VALUES(2,'pad74ef015f04','{"id": "pad74ef015f04", "mx": 41.5, "my": 0.5, "strength_px2": 123.15043202071989, "blur_constant": 448.0, "opacity": 1.0, "log_odds": 1.3, "confirmed": false, "ever_confirmed": false, "first_seen": null, "last_seen": null, "frames_seen": 1, "frames_eligible": 1, "independent_frames": 1, "f_numbers": [16.0], "sightings": [{"scene": "00000000000000000000000000000010", "mx": 41.5, "my": 0.5, "diameter_px": 28.0, "attenuation": 0.2, "f_number": 16.0, "focal_length_mm": 50.0, "lens": "50 mm"}], "missed_in": []}');
CREATE TABLE scenes (epoch INTEGER NOT NULL REFERENCES epochs ON DELETE CASCADE, frame_id TEXT NOT NULL,
        data TEXT NOT NULL, PRIMARY KEY (epoch, frame_id));
INSERT INTO "scenes" VALUES(1,'00000000000000000000000000000000','{"width": 960, "height": 640, "scene": {"px": 48, "shape": [14, 20], "data": "eNotyElWgzAAAND730gXbGoLyBgSICOZSIKhBerCrn1P/MsviJoZpMszoLQYSVJ3WQt77gONZrR+AnVTC1j0kEtle6LD0rnvaATl2+s4Flwiu/0xjJb2xR/uazVanseyltglTIhHg5vzIkGC2R/ZV9m1dOcte1MT6TgFef5fGxs++qETmCk+bne/7tsW6pwPVadhk8NJPpxc92d18VpPUip8u5LOz6NAiLTlJIf0bWYA0N1zWLgYPQ5GC/Sp+oxogBXiTtm741VaJX5IyJCPngCJ6WHw5f32C9G08KI="}, "limits": {"px": 128, "shape": [5, 8], "data": "eNoBKADX/9Pa7P/y/+zU7f/yyuX////M//Aosf/oxtjz6uL//+z//+jy///t6f/gMyRB"}}');
INSERT INTO "scenes" VALUES(1,'00000000000000000000000000000001','{"width": 960, "height": 640, "scene": {"px": 48, "shape": [14, 20], "data": "eNolzdtygyAUheH3f6fOpI1N0qjh4AZhgwiIyjQH0+lletFm6rr8Ltbvx7k9zjPqcYjWhUZKmzoDTBgMy/T2QrQy9nJlYj77IA9scsVWaIJdcrz/vHjp2/S/E0evqup5EjVVq7mAjDA+IIBqVkr52dNdkfpq07h5tQG87cyr7gV3PKxWnH7SkQcZvDW8d03KuPmID7fnkXAwodUWCNRU14ecFA4tmOiJGmhZMZ9rrN5Ndlz0Y1y+DRUaPXblblI1TOcxqvyYoJZYatkudC9vX8mX+HunOzBbgfb+BwRb7mw="}, "limits": {"px": 128, "shape": [5, 8], "data": "eNoBKADX/+js7v//2P//6+z/v8/l6tDb/+RAxv///+DN5Ovw///d6d/m/9vo8v/hziQD"}}');
INSERT INTO "scenes" VALUES(1,'00000000000000000000000000000002','{"width": 960, "height": 640, "scene": {"px": 48, "shape": [14, 20], "data": "eNotyNlSgzAUAND//6S+OKCFlrIkkNxsZGcVtyqjz86I5/EYgOvp89uKyREzA2tEEJEAoHEwzjXi5+2cpGzuX0attQqyouT+ji+FtmHLx7tHbEn/lNgGJgLmIn+Y/q++QZx6HVBVF0oex27YDb0nLY/0Uh6nyYRxTwXCpH6qjqNmB2ZK9djOEsfVAgGu48BQB1kNbt0kk+wjaN0gpYRLesG/dOSVgY5x0HH26lxzfHWRqHWwLXae2M0nbdf4hRTU9uuqVMyqZTlxjPYNZVjS1z2wmObT8y890+oU"}, "limits": {"px": 128, "shape": [5, 8], "data": "eNoBKADX/9Tp5uz/9e3Y////5v/s9eDX8vCN4v//8f/////z8ODS5P/y7PHj/7/1zyTn"}}');
INSERT INTO "scenes" VALUES(2,'0000000000000000000000000000000f','{"width": 960, "height": 640, "scene": {"px": 48, "shape": [14, 20], "data": "eNotyMtSgzAUAND//yUXOtiOhQYIhDxIIAnhRtIAbUUXjtONM+JZnsNJmkbPBE1s23TTWe0/zBoHdj5gG1YjZcWS2lM1BVGOzhp6fs0Vr5y3AKwFJpbHH07FGOOiRNiGJN/Pqw7LILPp1lfkst/j3pOqzKhmBYav/1uyXuP6yoQfWrcXOT7ROfqfz8VpLEzPNYcxrVs7Tbwp6vhuFC4uVsX1lLbeo4ZVdDAQ4C6EfkuOPJgXd3VM9ER9d5TRIuM8zRFASRRBarHSQV2lhTQltEdkCtRPoOYbIc8ZhF/qIPJo"}, "limits": {"px": 128, "shape": [5, 8], "data": "eNolyCEKACAQALD//8Hmm0QwXhDBcMU+BRdnoPnClEpnsV/MKkO04wIKliWa"}}');
INSERT INTO "scenes" VALUES(2,'00000000000000000000000000000010','{"width": 960, "height": 640, "scene": {"px": 48, "shape": [14, 20], "data": "eNolyNtqwyAAAND//6NBH7LeGxcbY4war1GrubKGwhgMBoPlPB5spnn+1q3FZ8A5JCH6YGSF+5JKIWXdGWARG0m3oJ2QcRm918a0Seh5miLBTrbxn+ZrIuG3xUyTim9nj1+jMiYnTaW6x3ZO2NVD1MDT/aHNdvEVJ/4h7C2n4FptBdlnWxJgQx/jrJQAJMpmUPfj/gilc88fD7JDliO1XArKCV4XqpJJ3ZXURAe6Lyj03fNlsBgGLlhT18kXMGll5/5QBs9uF2wtREyFVgs3vRXeNe8ZmtbdSXn1Bz8D75s="}, "limits": {"px": 128, "shape": [5, 8], "data": "eNoBKADX/+j//93f6P//8f/recv/7v///+6Gsf//7f/z///t////3P/g3db///Pu1iTb"}}');
CREATE UNIQUE INDEX epoch_start ON epochs (body_id, coalesce(started_at, ''));
CREATE INDEX frame_epoch ON frames (epoch);
COMMIT;
PRAGMA user_version = 1;
